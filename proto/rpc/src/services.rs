//! The services of one server, each with both message limits; health and reflection.

use std::{fmt, sync::Arc};

use tonic::service::Routes;
use tonic_health::{ServingStatus, server::HealthReporter};
use weft_proto::{
    DESCRIPTORS,
    v1::{
        admin_server::{Admin, AdminServer},
        join_server::{Join, JoinServer},
        local_server::{Local, LocalServer},
        raft_server::{Raft, RaftServer},
    },
};

use crate::{
    Error,
    frames::{EncodedSync, SyncService},
    limits::MESSAGE_LIMIT,
};

/// A set of services to be served together.
#[derive(Clone, Default)]
pub struct Services {
    routes: Routes,
}

macro_rules! limited {
    ($server:ident, $service:expr) => {
        $server::new($service)
            .max_decoding_message_size(MESSAGE_LIMIT)
            .max_encoding_message_size(MESSAGE_LIMIT)
    };
}

impl Services {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds service Admin.
    #[must_use]
    pub fn admin(self, service: impl Admin) -> Self {
        Self { routes: self.routes.add_service(limited!(AdminServer, service)) }
    }

    /// Adds service Join.
    #[must_use]
    pub fn join(self, service: impl Join) -> Self {
        Self { routes: self.routes.add_service(limited!(JoinServer, service)) }
    }

    /// Adds service Sync.
    #[must_use]
    pub fn sync(self, service: impl SyncService) -> Self {
        Self { routes: self.routes.add_service(EncodedSync::new(service)) }
    }

    /// Adds service Raft.
    #[must_use]
    pub fn raft(self, service: impl Raft) -> Self {
        Self { routes: self.routes.add_service(limited!(RaftServer, service)) }
    }

    /// Adds service Local.
    #[must_use]
    pub fn local(self, service: impl Local) -> Self {
        Self { routes: self.routes.add_service(limited!(LocalServer, service)) }
    }

    /// Adds health (`grpc.health.v1`) and reflection (`grpc.reflection.v1`). Health says "serving" from the start; call
    /// [`Health::not_serving`] first when the server has to catch up.
    ///
    /// Fails only when the built-in descriptors can't be read.
    pub fn health_and_reflection(self) -> Result<(Self, Health), Error> {
        let (reporter, health) = tonic_health::server::health_reporter();
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .build_v1()
            .map_err(Error::tls)?;
        let routes = self.routes.add_service(health).add_service(reflection);
        Ok((Self { routes }, Health(Arc::new(reporter))))
    }

    pub(crate) fn into_routes(self) -> Routes {
        self.routes.prepare()
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Services")
    }
}

/// Says whether the server serves; watchers of `grpc.health.v1` hear each change.
#[derive(Clone)]
pub struct Health(Arc<HealthReporter>);

impl Health {
    /// The server can answer calls.
    pub async fn serving(&self) {
        self.0.set_service_status("", ServingStatus::Serving).await;
    }

    /// The server is starting, stopping or useless.
    pub async fn not_serving(&self) {
        self.0.set_service_status("", ServingStatus::NotServing).await;
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Health")
    }
}
