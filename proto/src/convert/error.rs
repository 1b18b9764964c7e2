//! The error envelope. Its texts come from another process and are only shown, so any text is taken.

use weft_errors::{Error, ObjectRef, Remedy};

use crate::v1;

impl From<&Error> for v1::Error {
    fn from(error: &Error) -> Self {
        let object = error.object.clone().unwrap_or_default();
        Self {
            code: error.code.clone(),
            reason: error.reason.clone(),
            message: error.message.clone(),
            object_kind: object.kind,
            object_namespace: object.namespace,
            object_name: object.name,
            field: error.field.clone(),
            cause: error.cause.clone(),
            remedy: error.remedy.iter().map(remedy_to_wire).collect(),
            retryable: error.retryable,
        }
    }
}

impl From<v1::Error> for Error {
    fn from(wire: v1::Error) -> Self {
        let object = (!wire.object_kind.is_empty()).then_some(ObjectRef {
            kind: wire.object_kind,
            namespace: wire.object_namespace,
            name: wire.object_name,
        });
        Self {
            kind: "Error".to_owned(),
            code: wire.code,
            reason: wire.reason,
            message: wire.message,
            object,
            field: wire.field,
            cause: wire.cause,
            remedy: wire
                .remedy
                .into_iter()
                .map(|remedy| Remedy { text: remedy.text, command: remedy.command })
                .collect(),
            retryable: wire.retryable,
        }
    }
}

fn remedy_to_wire(remedy: &Remedy) -> v1::Remedy {
    v1::Remedy { text: remedy.text.clone(), command: remedy.command.clone() }
}
