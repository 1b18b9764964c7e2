//! Conversions between wire and model, one file per kind.
