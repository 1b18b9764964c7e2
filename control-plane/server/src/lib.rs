//! Replica task, gRPC services, fan-out.
