//! The node's folded picture of the fabric.
