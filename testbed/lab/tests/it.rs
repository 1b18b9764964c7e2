//! The lab with real kernels underneath, without the product.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop a test")]

mod stand_in;
mod substrate;
