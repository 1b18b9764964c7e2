//! TLS, channels over several replicas, limits, caller identity.
