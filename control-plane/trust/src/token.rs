//! Join tokens: `wt1.ID.SECRET`. The secret has 128 bits; the cluster keeps only the hash of the whole.

use std::{fmt, str::FromStr};

use sha2::{Digest, Sha256};
use weft_model::{Revision, Role, Token, WallTime};
use zeroize::Zeroizing;

use crate::Error;

/// How long a token works when nothing else is asked for: 30 minutes.
pub const TOKEN_LIFE_MS: u64 = 30 * 60_000;

const PREFIX: &str = "wt1";

/// 32 symbols without those that look alike (0 o 1 l).
const SYMBOLS: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";

/// Symbols of the public part: 50 bits.
const ID_LENGTH: usize = 10;

/// Symbols of the secret: 130 bits, of which the last two are always zero.
const SECRET_LENGTH: usize = 26;

/// A join token. It prints as `[secret]`.
#[derive(Clone)]
pub struct JoinToken(Zeroizing<String>);

impl JoinToken {
    /// Makes a new one.
    pub fn generate() -> Result<Self, Error> {
        let mut bytes = Zeroizing::new([0; 24]);
        getrandom::fill(bytes.as_mut_slice()).map_err(Error::Random)?;
        let (id, secret) = bytes.split_at(8);
        let id = symbols(id, ID_LENGTH);
        let secret = Zeroizing::new(symbols(secret, SECRET_LENGTH));
        Ok(Self(Zeroizing::new(format!("{PREFIX}.{id}.{}", *secret))))
    }

    /// The whole text; shown once to the person who made it, and sent to the control plane by the machine that joins.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The public part, for lists and revocation.
    pub fn id(&self) -> &str {
        self.0.get(PREFIX.len() + 1..PREFIX.len() + 1 + ID_LENGTH).unwrap_or_default()
    }

    /// SHA-256 of the whole text: what the cluster keeps.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }

    /// The record to store.
    pub fn record(&self, role: Role, expires: WallTime) -> Token {
        Token {
            id: self.id().to_owned(),
            hash: self.hash(),
            role,
            expires,
            used_by: None,
            revision: Revision(0),
        }
    }
}

impl FromStr for JoinToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why| Error::TokenMalformed { why };
        let mut parts = text.split('.');
        if parts.next() != Some(PREFIX) {
            return Err(bad("it doesn't begin with wt1."));
        }
        for length in [ID_LENGTH, SECRET_LENGTH] {
            let part = parts.next().ok_or(bad("a part is missing"))?;
            if part.len() != length {
                return Err(bad("a part has a wrong length; was the whole token copied?"));
            }
            if !part.bytes().all(|byte| SYMBOLS.contains(&byte)) {
                return Err(bad("it has a character that tokens don't have"));
            }
        }
        if parts.next().is_some() {
            return Err(bad("something follows it"));
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Five bits a symbol, most significant first; zero bits after the end.
fn symbols(bytes: &[u8], count: usize) -> String {
    let bit = |index: usize| bytes.get(index / 8).map_or(0, |byte| byte >> (7 - index % 8) & 1);
    (0..count)
        .map(|symbol| {
            let value = (0..5).fold(0, |value, offset| value << 1 | bit(symbol * 5 + offset));
            char::from(SYMBOLS[usize::from(value)])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use weft_errors::Coded;

    use super::*;

    #[test]
    fn a_token_is_read_as_it_was_made() {
        let token = JoinToken::generate().unwrap();
        let read: JoinToken = token.expose().parse().unwrap();
        assert_eq!((read.hash(), read.id()), (token.hash(), token.id()));
        assert_eq!(token.expose(), format!("wt1.{}.{}", token.id(), &token.expose()[15..]));
        assert_ne!(JoinToken::generate().unwrap().hash(), token.hash());
        let record = token.record(Role::Node, WallTime(5));
        assert_eq!((record.hash, record.expires), (token.hash(), WallTime(5)));
        let printed = format!("{token:?} {record:?}");
        assert!(!printed.contains(&token.expose()[15..]), "{printed}");
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_shown() {
        let token = JoinToken::generate().unwrap().expose().to_owned();
        for bad in [
            String::new(),
            token[1..].to_owned(),
            token[..token.len() - 1].to_owned(),
            format!("{token}2"),
            format!("{token}.x"),
            format!(" {token}"),
            token.replace("wt1", "wt2"),
            token.to_uppercase(),
            format!("{}\u{e9}", &token[..token.len() - 2]),
        ] {
            let error = bad.parse::<JoinToken>().unwrap_err();
            assert_eq!(error.code().reason, "TokenInvalid");
            assert!(bad.len() < 3 || !error.to_string().contains(&bad), "{error}");
        }
    }

    #[test]
    fn secrets_use_all_their_bits() {
        assert_eq!(symbols(&[0xff; 16], SECRET_LENGTH), "zzzzzzzzzzzzzzzzzzzzzzzzzw");
        assert_eq!(symbols(&[0; 16], SECRET_LENGTH), "2".repeat(26));
    }
}
