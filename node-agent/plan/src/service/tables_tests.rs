//! Laws of the tables.
