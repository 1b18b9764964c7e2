//! The short cut of search domains.
