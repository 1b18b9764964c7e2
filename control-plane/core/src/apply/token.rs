//! Join tokens: made, revoked, and used once.
//!
//! Whoever holds no valid token learns nothing from a refusal: not whether the token is known, used, revoked,
//! expired or meant for another role, and nothing of the objects.

use weft_model::{Answer, Record, RecordKey, Role, Token, WallTime};

use crate::{Error, admit, edit::Edit, limits};

/// Stores a new token and drops some that nobody needs any more.
pub(crate) fn create(edit: &mut Edit<'_>, token: &Token) -> Result<Answer, Error> {
    admit::check_text("token", &token.id, "spec.id", &token.id)?;
    let now = edit.time();
    if token.expires <= now {
        return Err(Error::invalid("token", &token.id, "spec.expires", "it has expired already"));
    }
    drop_old(edit, now);
    let state = edit.state();
    if state.tokens().contains_key(&token.id) || state.index.token_hashes.contains_key(&token.hash) {
        return Err(Error::AlreadyExists { kind: "token", name: token.id.clone() });
    }
    if state.tokens().len() >= limits::MAX_TOKENS {
        let name = token.id.clone();
        return Err(Error::TooLarge {
            kind: "token",
            name,
            what: "tokens beside it",
            limit: limits::MAX_TOKENS,
        });
    }
    let revision = edit.revision();
    edit.put(Record::Token(Token { used_by: None, revision, ..token.clone() }));
    Ok(Answer::Done)
}

/// Makes a token useless: it goes.
pub(crate) fn revoke(edit: &mut Edit<'_>, id: &str) -> Result<Answer, Error> {
    if !edit.state().tokens().contains_key(id) {
        return Err(Error::NotFound { kind: "token", name: id.to_owned() });
    }
    edit.delete(&RecordKey::Token(id.to_owned()));
    Ok(Answer::Done)
}

/// A person or program takes the role of a token.
pub(crate) fn join_person(edit: &mut Edit<'_>, hash: &[u8; 32], name: &str) -> Result<Answer, Error> {
    let token = redeem(edit, hash, &[Role::Admin, Role::Viewer])?;
    admit::check_text("person", name, "name", name)?;
    let role = token.role;
    spend(edit, token, format!("{role}/{name}"));
    Ok(Answer::Person(role))
}

/// The token with this hash, if it may be used now for one of the roles.
pub(crate) fn redeem(edit: &Edit<'_>, hash: &[u8; 32], roles: &[Role]) -> Result<Token, Error> {
    let state = edit.state();
    let token = state.index.token_hashes.get(hash).and_then(|id| state.tokens().get(id));
    let valid = |token: &&Token| {
        token.used_by.is_none() && token.expires > edit.time() && roles.contains(&token.role)
    };
    token.filter(valid).cloned().ok_or(Error::TokenInvalid)
}

/// Notes who used a token: the last act of a join that succeeded.
pub(crate) fn spend(edit: &mut Edit<'_>, token: Token, user: String) {
    let revision = edit.revision();
    edit.put(Record::Token(Token { used_by: Some(user), revision, ..token }));
}

fn drop_old(edit: &mut Edit<'_>, now: WallTime) {
    let expiry = &edit.state().index.token_expiry;
    let old: Vec<_> = expiry
        .iter()
        .take(limits::MAX_DROPPED_TOKENS)
        .take_while(|(expires, _)| now.0.saturating_sub(expires.0) >= limits::TOKEN_KEPT_MILLIS)
        .map(|(_, id)| id.clone())
        .collect();
    for id in old {
        edit.delete(&RecordKey::Token(id));
    }
}
