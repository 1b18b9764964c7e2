//! The truth of the cluster: state, commands, derivation.
