//! What is wrong with an object, all of it at once, in the words of Kubernetes
//! (`apimachinery/pkg/util/validation/field`): `spec.ports[1].name: Duplicate value: "http"`.

use std::fmt::{self, Debug};

use weft_model::{FieldProblem, check_label, check_port_name};

use crate::Error;

/// Problems of one object, in the order in which they were found.
pub(crate) struct Problems {
    kind: &'static str,
    name: String,
    found: Vec<(String, String)>,
}

impl Problems {
    pub(crate) fn new(kind: &'static str, name: impl fmt::Display) -> Self {
        Self { kind, name: name.to_string(), found: Vec::new() }
    }

    /// Nothing, or everything that was found; the error's field is that of the first problem.
    pub(crate) fn finish(self) -> Result<(), Error> {
        let shown: Vec<_> = self.found.iter().map(|(field, why)| format!("{field}: {why}")).collect();
        let why = match shown.as_slice() {
            [] => return Ok(()),
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let field = self.found.into_iter().next().map(|(field, _)| field).unwrap_or_default();
        Err(Error::invalid(self.kind, self.name, field, why))
    }

    pub(crate) fn required(&mut self, field: impl Into<String>, why: &str) {
        let colon = if why.is_empty() { "" } else { ": " };
        self.found.push((field.into(), format!("Required value{colon}{why}")));
    }

    pub(crate) fn duplicate(&mut self, field: impl Into<String>, value: impl Debug) {
        self.found.push((field.into(), format!("Duplicate value: {value:?}")));
    }

    pub(crate) fn invalid(&mut self, field: impl Into<String>, value: impl Debug, why: &str) {
        self.found.push((field.into(), format!("Invalid value: {value:?}: {why}")));
    }

    pub(crate) fn forbidden(&mut self, field: impl Into<String>, why: &str) {
        self.found.push((field.into(), format!("Forbidden: {why}")));
    }

    /// What a part of the object found wrong with itself.
    pub(crate) fn all(&mut self, found: Vec<FieldProblem>) {
        self.found.extend(found.into_iter().map(|problem| (problem.field, problem.why)));
    }

    pub(crate) fn too_many(&mut self, field: impl Into<String>, count: usize, limit: usize) {
        self.found.push((field.into(), format!("Too many: {count}: must have at most {limit} items")));
    }

    /// A DNS label (RFC 1123).
    pub(crate) fn label_name(&mut self, field: impl Into<String>, text: &str) {
        if weft_model::NamespaceName::new(text).is_err() {
            self.invalid(field, text, LABEL);
        }
    }

    /// A DNS label that begins with a letter (RFC 1035).
    pub(crate) fn letter_name(&mut self, field: impl Into<String>, text: &str) {
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
        if weft_model::NamespaceName::new(text).is_err() || !begins {
            self.invalid(field, text, LETTER);
        }
    }

    /// A DNS subdomain (RFC 1123), whose labels DNS can carry.
    pub(crate) fn subdomain(&mut self, field: impl Into<String>, text: &str) {
        if weft_model::DomainName::new(text).is_err() {
            self.invalid(field, text, SUBDOMAIN);
        }
    }

    /// A qualified name: `name` or `prefix/name`.
    pub(crate) fn qualified(&mut self, field: impl Into<String>, text: &str) {
        if let Err(error) = check_label(text, "") {
            self.invalid(field, text, &error.to_string());
        }
    }

    /// The name of a port (RFC 6335 section 5.1).
    pub(crate) fn port_name(&mut self, field: impl Into<String>, text: &str) {
        if let Err(why) = check_port_name(text) {
            self.invalid(field, text, why);
        }
    }

    pub(crate) fn port_number(&mut self, field: impl Into<String>, port: u16) {
        if port == 0 {
            self.invalid(field, port, "must be between 1 and 65535, inclusive");
        }
    }
}

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
                     start and end with an alphanumeric character, at most 63 characters";
const LETTER: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an \
                      alphabetic character, and end with an alphanumeric character, at most 63 characters";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
                         '.', and must start and end with an alphanumeric character, at most 253 characters";
