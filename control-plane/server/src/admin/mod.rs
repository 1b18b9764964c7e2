//! Service Admin: for `weft`, dashboards and programs. One file per group of calls; this one only checks who asks.

mod apply;
mod changes;
mod delete;
mod node;
mod policy;
mod read;
mod status;
mod texts;
mod token;
mod wait;
mod watch;
mod who;

use std::sync::Arc;

use futures_util::stream::BoxStream;
use tonic::{Request, Response, Status};
use weft_proto::v1::{self, admin_server::Admin};

use crate::{
    access::{Need, person},
    context::{Context, deadline, refuse},
    events::events,
};

pub(crate) use node::{ask_here, owner_of};
pub(crate) use status::local_status;

/// Service Admin of one replica.
pub(crate) struct AdminService {
    context: Arc<Context>,
}

impl AdminService {
    pub(crate) const fn new(context: Arc<Context>) -> Self {
        Self { context }
    }
}

/// Checks the caller, then hands the message and its deadline to the function that does the work.
macro_rules! call {
    ($self:ident, $request:ident, $need:ident, $work:path) => {{
        person(&$request, Need::$need).map_err(refuse)?;
        let deadline = deadline(&$request);
        $work(&$self.context, $request.into_inner(), deadline).await.map(Response::new).map_err(refuse)
    }};
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn apply(&self, request: Request<v1::ApplyRequest>) -> Result<Response<v1::ApplyResponse>, Status> {
        call!(self, request, Write, apply::apply)
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        call!(self, request, Read, read::get)
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        call!(self, request, Read, read::list)
    }

    type WatchObjectsStream = BoxStream<'static, Result<v1::WatchObjectsResponse, Status>>;

    async fn watch_objects(
        &self,
        request: Request<v1::WatchObjectsRequest>,
    ) -> Result<Response<Self::WatchObjectsStream>, Status> {
        person(&request, Need::Read).map_err(refuse)?;
        let stream = watch::objects(Arc::clone(&self.context), request.into_inner()).map_err(refuse)?;
        Ok(Response::new(stream))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        call!(self, request, Write, delete::delete)
    }

    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        call!(self, request, Read, status::status)
    }

    async fn wait(&self, request: Request<v1::WaitRequest>) -> Result<Response<v1::WaitResponse>, Status> {
        call!(self, request, Read, wait::wait)
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        call!(self, request, Write, token::create)
    }

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        call!(self, request, Read, token::list)
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        call!(self, request, Write, token::revoke)
    }

    async fn remove_node(
        &self,
        request: Request<v1::RemoveNodeRequest>,
    ) -> Result<Response<v1::RemoveNodeResponse>, Status> {
        call!(self, request, Write, node::remove)
    }

    async fn who_has(
        &self,
        request: Request<v1::WhoHasRequest>,
    ) -> Result<Response<v1::WhoHasResponse>, Status> {
        call!(self, request, Read, who::who_has)
    }

    async fn ask_node(
        &self,
        request: Request<v1::AskNodeRequest>,
    ) -> Result<Response<v1::AskNodeResponse>, Status> {
        // Looking at a node is a read; sending packets from a pod or making pods changes something.
        let need = match request.get_ref().ask.as_ref().and_then(|ask| ask.what.as_ref()) {
            Some(
                v1::ask::What::Inspect(_)
                | v1::ask::What::Ledger(_)
                | v1::ask::What::Setup(_)
                | v1::ask::What::Judge(_)
                | v1::ask::What::Cuts(_)
                | v1::ask::What::Flows(_),
            ) => Need::Read,
            Some(v1::ask::What::Trace(trace)) if !trace.probe => Need::Read,
            Some(
                v1::ask::What::Ping(_)
                | v1::ask::What::PodAdd(_)
                | v1::ask::What::PodRemove(_)
                | v1::ask::What::Trace(_)
                | v1::ask::What::Lookup(_),
            )
            | None => Need::Write,
        };
        person(&request, need).map_err(refuse)?;
        let deadline = deadline(&request);
        node::ask(&self.context, request.into_inner(), deadline).await.map(Response::new).map_err(refuse)
    }

    async fn events(
        &self,
        request: Request<v1::EventsRequest>,
    ) -> Result<Response<v1::EventsResponse>, Status> {
        person(&request, Need::Read).map_err(refuse)?;
        events(&self.context, request.get_ref()).map(Response::new).map_err(refuse)
    }

    async fn items(&self, request: Request<v1::ItemsRequest>) -> Result<Response<v1::ItemsResponse>, Status> {
        call!(self, request, Read, read::items)
    }
}
