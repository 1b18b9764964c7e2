//! `weft token create|list|revoke`.

use serde_json::{Value, json};
use weft_model::Role;
use weft_proto::{convert::role_from_wire, v1};

use super::Run;
use crate::{
    args::Token,
    fail::Outcome,
    table::{at, column},
};

/// Runs the subcommand.
pub(crate) async fn run(args: Token, run: &Run) -> Outcome {
    match args {
        Token::Create { role, ttl } => create(role, ttl, run).await,
        Token::List => list(run).await,
        Token::Revoke { id } => {
            let session = run.session()?;
            let mutation = Some(session.mutation());
            session
                .admin()?
                .revoke_token(session.request(v1::RevokeTokenRequest { mutation, id: id.clone() }))
                .await
                .map_err(|s| session.failure(s))?;
            run.printer
                .value(&json!({"kind": "Token", "metadata": {"name": id}, "revoked": true}), "revoked");
            Ok(())
        }
    }
}

async fn create(role: Role, ttl: std::time::Duration, run: &Run) -> Outcome {
    let session = run.session()?;
    let ttl_s = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
    let request = v1::CreateTokenRequest {
        mutation: Some(session.mutation()),
        role: v1::Role::from(role).into(),
        ttl_s,
    };
    let made = session
        .admin()?
        .create_token(session.request(request))
        .await
        .map_err(|s| session.failure(s))?
        .into_inner();
    let endpoints: Vec<String> =
        made.endpoints.iter().filter_map(|e| crate::client::socket(e).map(|a| a.to_string())).collect();
    let target = endpoints.join(",");
    let command = match role {
        Role::Node => format!("sudo weft-agent join {target} --token {} --ca {}", made.token, made.authority),
        Role::Replica => format!(
            "sudo weftd join {target} --token {} --ca {} --listen IP:7443",
            made.token, made.authority
        ),
        Role::Admin | Role::Viewer => {
            format!(
                "weft context add NAME --endpoint {target} --token {} --ca {}",
                made.token, made.authority
            )
        }
    };
    let value = json!({
        "kind": "Token",
        "metadata": {"name": made.id},
        "token": made.token,
        "role": role.to_string(),
        "expiresMs": made.expires_ms,
        "ca": made.authority,
        "endpoints": endpoints,
        "command": command,
    });
    let text = format!(
        "Token for one {role}, works once, for {} minutes:\n  {command}\n",
        ttl.as_secs().div_ceil(60)
    );
    run.printer.value(&value, &text);
    Ok(())
}

async fn list(run: &Run) -> Outcome {
    let session = run.session()?;
    let tokens = session
        .admin()?
        .list_tokens(session.request(v1::ListTokensRequest {}))
        .await
        .map_err(|s| session.failure(s))?
        .into_inner()
        .tokens;
    let now = crate::client::now_ms();
    let items: Vec<Value> = tokens
        .into_iter()
        .map(|token| {
            let state = if !token.used_by.is_empty() {
                "used"
            } else if token.expires_ms <= now {
                "expired"
            } else {
                "open"
            };
            let role = role_from_wire("role", token.role).map(|r| r.to_string()).unwrap_or_default();
            json!({"kind": "Token", "metadata": {"name": token.id}, "role": role, "state": state, "usedBy": token.used_by, "expiresMs": token.expires_ms})
        })
        .collect();
    if items.is_empty() {
        run.printer.note("No tokens.");
    }
    let columns = [
        column("ID", |v| at(v, "/metadata/name")),
        column("ROLE", |v| at(v, "/role")),
        column("STATE", |v| at(v, "/state")),
        column("USED BY", |v| at(v, "/usedBy")),
    ];
    run.printer.list(&json!({"kind": "TokenList", "items": items}), &columns);
    Ok(())
}
