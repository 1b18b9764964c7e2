//! What this node wants, against what the kernel has.
