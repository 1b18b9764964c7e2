//! Whether the replica could serve where it is told to: a look, while nothing serves yet.
//!
//! A warning and no refusal: a machine may get its address after its replica was made.

use std::net::{SocketAddr, TcpListener};

use serde_json::{Value, json};
use weft_errors::{Error, FILE_UNREADABLE};

/// What was seen.
pub(crate) struct Listen {
    address: SocketAddr,
    error: Option<Error>,
}

impl Listen {
    /// Listens for a moment. The port is free again at once: nobody can have connected.
    pub(crate) fn look(address: SocketAddr) -> Self {
        let error = TcpListener::bind(address).err().map(|e| {
            Error::new(&FILE_UNREADABLE, format!("{address} can't be listened on"))
                .object("address", "", address)
                .because(e)
                .try_this("stop what serves there, or give the machine this address", "")
        });
        Self { address, error }
    }

    /// The finding, as `weft check` has them.
    pub(crate) fn value(&self) -> Value {
        let detail = self
            .error
            .as_ref()
            .map_or_else(|| format!("{} is free", self.address), |error| error.message.clone());
        json!({"check": "listen", "ok": self.error.is_none(), "detail": detail, "error": self.error})
    }

    /// Its line for people.
    pub(crate) fn text(&self) -> String {
        match &self.error {
            None => format!("Preflight   {} is free\n", self.address),
            Some(error) => {
                let why = error.cause.first().map(|why| format!(": {why}")).unwrap_or_default();
                format!("Preflight   warning {}: {}{why}\n", error.code, error.message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_a_warning_and_a_free_one_is_said_to_be_free() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let seen = Listen::look(address);
        assert!(seen.text().contains("warning W") && seen.text().contains(&address.to_string()));
        assert_eq!(seen.value()["ok"], false);
        drop(taken);
        let seen = Listen::look(address);
        assert_eq!(seen.text(), format!("Preflight   {address} is free\n"));
        assert_eq!((&seen.value()["ok"], &seen.value()["error"]), (&json!(true), &Value::Null));
    }
}
