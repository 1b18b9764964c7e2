//! Join tokens: made here, stored by their hash, shown once.

use std::time::Instant;

use weft_errors::{Coded, Error, OBJECT_INVALID};
use weft_model::{Action, Role, Token, WallTime};
use weft_proto::{convert::role_from_wire, v1};

use super::read::fresh;
use crate::{
    context::{Context, wall_time},
    limits::{TOKEN_TTL_DEFAULT_S, TOKEN_TTL_S},
};

/// Makes a token.
pub(crate) async fn create(
    context: &Context,
    wire: v1::CreateTokenRequest,
    deadline: Instant,
) -> Result<v1::CreateTokenResponse, Error> {
    let role = role_from_wire("role", wire.role).map_err(|e| e.envelope())?;
    let ttl_s = if wire.ttl_s == 0 { TOKEN_TTL_DEFAULT_S } else { wire.ttl_s };
    if !TOKEN_TTL_S.contains(&ttl_s) {
        let (least, most) = (TOKEN_TTL_S.start(), TOKEN_TTL_S.end());
        return Err(Error::new(
            &OBJECT_INVALID,
            format!("a token lives {least} to {most} seconds, not {ttl_s}"),
        )
        .field("ttl_s"));
    }
    let secret = weft_trust::JoinToken::generate().map_err(|e| e.envelope())?;
    let expires = WallTime(wall_time().0 + u64::from(ttl_s) * 1_000);
    let token = Token {
        id: secret.id().to_owned(),
        hash: secret.hash(),
        role,
        expires,
        used_by: None,
        revision: weft_model::Revision(0),
    };
    let action = || Action::CreateToken { token: token.clone() };
    context.propose(wire.mutation, action(), deadline).await?.answer?;
    if !is_stored(context, secret.id(), deadline).await? {
        // An earlier try of this call was carried out, and the secret of its token went with the replica that made it. Nobody
        // knows that token; the caller needs one that works.
        context.propose(None, action(), deadline).await?.answer?;
    }
    let endpoints = context
        .handle
        .query(|state| state.members().values().map(|member| member.address).collect::<Vec<_>>())
        .await?;
    Ok(v1::CreateTokenResponse {
        token: secret.expose().to_owned(),
        id: secret.id().to_owned(),
        expires_ms: expires.0,
        authority: context.authority.hash().to_string(),
        endpoints: endpoints.iter().map(Into::into).collect(),
    })
}

/// Whether a token was stored, by a state that has seen every acknowledged write.
async fn is_stored(context: &Context, id: &str, deadline: Instant) -> Result<bool, Error> {
    fresh(context, false, deadline).await?;
    let id = id.to_owned();
    context.handle.query(move |state| state.tokens().contains_key(&id)).await
}

/// Tokens without their secrets.
pub(crate) async fn list(
    context: &Context,
    _: v1::ListTokensRequest,
    deadline: Instant,
) -> Result<v1::ListTokensResponse, Error> {
    fresh(context, false, deadline).await?;
    let tokens = context.handle.query(|state| state.tokens().values().cloned().collect::<Vec<_>>()).await?;
    let rows = tokens.into_iter().map(|token| v1::TokenStatus {
        id: token.id,
        role: role_to_wire(token.role),
        expires_ms: token.expires.0,
        used_by: token.used_by.unwrap_or_default(),
    });
    Ok(v1::ListTokensResponse { tokens: rows.collect() })
}

fn role_to_wire(role: Role) -> i32 {
    v1::Role::from(role).into()
}

/// Makes a token useless.
pub(crate) async fn revoke(
    context: &Context,
    wire: v1::RevokeTokenRequest,
    deadline: Instant,
) -> Result<v1::RevokeTokenResponse, Error> {
    context.propose(wire.mutation, Action::RevokeToken { id: wire.id }, deadline).await?.answer?;
    Ok(v1::RevokeTokenResponse {})
}
