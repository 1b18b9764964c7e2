//! How processes of Weft talk: TLS 1.3 both ways, channels over several replicas, limits, who calls.
//!
//! Besides generated code this is the only crate with tonic; what others need of it is exported here. Not here: what
//! calls mean (services are implemented elsewhere), issuing certificates (weft-trust).

mod breakable;
mod caller;
mod client;
mod error;
mod frames;
mod identity;
mod limits;
mod local;
mod probe;
mod server;
mod services;
mod status;
mod tls;

pub use caller::{Caller, Connection, caller, peer_address, require_role};
pub use client::{Channel, ChannelOptions, Connected, with_deadline};
pub use error::{Attempt, Error};
pub use frames::{EncodedFrame, FrameStream, SyncService};
pub use identity::{
    CertificateFacts, FileNames, Identity, Renewal, SecretKey, SharedIdentity, SigningRequest, Usage,
    authority_hash, pem_certificates, pem_encode, read_authority, read_certificate, renewal_message,
    verify_chain,
};
pub use limits::{DETAILS_LIMIT, Limits, MESSAGE_LIMIT};
pub use local::{local_channel, serve_local};
pub use probe::{check_grpc_health, tls_with_anybody};
pub use rustls_pki_types::{CertificateDer, ServerName};
pub use server::{Place, Places, Replaces, serve};
pub use services::{Health, Services};
pub use status::{error_of, status_of};
pub use tls::Trust;
pub use tonic::{Code, Request, Response, Status, Streaming, async_trait};

/// What clients made by [`Channel`] are generic over.
pub type Transport = tonic::transport::Channel;
