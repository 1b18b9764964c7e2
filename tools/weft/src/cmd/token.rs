//! `weft token create|list|revoke`.

use serde_json::{Value, json};
use weft_model::Role;
use weft_proto::{convert::role_from_wire, v1};

use super::Run;
use crate::{
    args::Token,
    client::{now_ms, socket, time},
    fail::Outcome,
    table::{at, column, span},
};

/// Runs the subcommand.
pub(crate) async fn run(args: Token, run: &Run) -> Outcome {
    match args {
        Token::Create { role, ttl } => create(role, ttl, run).await,
        Token::List => list(run).await,
        Token::Revoke { id } => {
            let session = run.session()?;
            let request = v1::RevokeTokenRequest { mutation: Some(session.mutation()), id: id.clone() };
            session
                .call(request, |mut admin, request| async move { admin.revoke_token(request).await })
                .await?;
            let value = json!({"kind": "Token", "metadata": {"name": id}, "revoked": true});
            run.printer.value(&value, &format!("token/{id}   revoked"));
            Ok(())
        }
    }
}

async fn create(role: Role, ttl: std::time::Duration, run: &Run) -> Outcome {
    let session = run.session()?;
    let request = v1::CreateTokenRequest {
        mutation: Some(session.mutation()),
        role: v1::Role::from(role).into(),
        ttl_s: u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX),
    };
    let made =
        session.call(request, |mut admin, request| async move { admin.create_token(request).await }).await?;
    let endpoints: Vec<String> =
        made.endpoints.iter().filter_map(|e| socket(e).map(|a| a.to_string())).collect();
    let target = endpoints.join(",");
    let tail = format!("--token {} --ca {}", made.token, made.authority);
    let command = match role {
        Role::Node => format!("sudo weft-agent join {target} {tail}"),
        Role::Replica => format!("sudo weftd join {target} {tail} --name NAME --listen IP:7443"),
        Role::Admin | Role::Viewer => format!("weft context add NAME --endpoint {target} {tail}"),
    };
    let value = json!({
        "kind": "Token",
        "metadata": {"name": made.id},
        "token": made.token,
        "role": role.to_string(),
        "expires": time(made.expires_ms),
        "ca": made.authority,
        "endpoints": endpoints,
        "command": command,
    });
    let text = format!("Add one {role} (within {}, works once):\n  {command}\n", span(ttl.as_secs()));
    run.printer.value(&value, &text);
    Ok(())
}

async fn list(run: &Run) -> Outcome {
    let session = run.session()?;
    let answer = session
        .call(v1::ListTokensRequest {}, |mut admin, request| async move { admin.list_tokens(request).await })
        .await?;
    let now = now_ms();
    let items: Vec<Value> = answer.tokens.iter().map(|token| row(token, now)).collect();
    if items.is_empty() {
        run.printer.note("No tokens.");
    }
    let columns = [
        column("ID", |v| at(v, "/metadata/name")),
        column("ROLE", |v| at(v, "/role")),
        column("STATE", |v| at(v, "/state")),
        column("EXPIRES", expires),
        column("USED BY", |v| at(v, "/usedBy")),
    ];
    run.printer.list(&json!({"kind": "TokenList", "items": items}), &columns);
    Ok(())
}

fn row(token: &v1::TokenStatus, now: u64) -> Value {
    let state = if !token.used_by.is_empty() {
        "used"
    } else if token.expires_ms <= now {
        "expired"
    } else {
        "open"
    };
    let role = role_from_wire("role", token.role).map(|r| r.to_string()).unwrap_or_default();
    json!({
        "kind": "Token",
        "metadata": {"name": token.id},
        "role": role,
        "state": state,
        "usedBy": token.used_by,
        "expires": time(token.expires_ms),
    })
}

/// `in 29m` for a token that still works.
fn expires(token: &Value) -> String {
    let at_ms = weft_yaml::parse_time(&at(token, "/expires")).unwrap_or(0);
    match at(token, "/state").as_str() {
        "open" => format!("in {}", span(at_ms.saturating_sub(now_ms()) / 1000)),
        _ => String::new(),
    }
}
