//! What upstreams say.
