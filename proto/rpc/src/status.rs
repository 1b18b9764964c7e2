//! The error envelope as a gRPC status, and back: the one place where the two meet.

use std::error::Error as _;

use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};
use weft_errors::{
    ALREADY_EXISTS, BUSY, Coded, DEADLINE, Error, ExitCode, INTERNAL, MALFORMED, NO_CERTIFICATE, NOT_FOUND,
    OBJECT_INVALID, ROLE_DENIED, TOO_LARGE, UNREACHABLE, VERSION_SKEW,
};
use weft_proto::v1;

use crate::limits::DETAILS_LIMIT;

/// Longest text of one field in the details of a status that had to be cut.
const TEXT_LIMIT: usize = 256;

/// Longest message of a status; the whole one is in the details.
const MESSAGE_TEXT_LIMIT: usize = 512;

/// The status that carries an error. Its details are the encoded `weft.v1.Error`, at most 4 KiB: longer texts are cut,
/// lists end with how many more there were.
pub fn status_of(error: &Error) -> Status {
    let code = match error.registered().exit {
        _ if error.registered() == &NO_CERTIFICATE => Code::Unauthenticated,
        _ if error.registered() == &ALREADY_EXISTS => Code::AlreadyExists,
        _ if error.registered() == &TOO_LARGE => Code::ResourceExhausted,
        ExitCode::Usage => Code::InvalidArgument,
        ExitCode::Done | ExitCode::No | ExitCode::Refused | ExitCode::Partial => Code::FailedPrecondition,
        ExitCode::NotFound => Code::NotFound,
        ExitCode::NotAllowed => Code::PermissionDenied,
        ExitCode::Unreachable => Code::Unavailable,
        ExitCode::Timeout => Code::DeadlineExceeded,
        ExitCode::Bug => Code::Internal,
        ExitCode::Interrupted => Code::Cancelled,
    };
    Status::with_details(code, cut(&error.message, MESSAGE_TEXT_LIMIT), details(error))
}

/// The error that a status carries; a foreign status becomes the nearest registered code.
pub fn error_of(status: &Status) -> Error {
    if let Some(error) = carried(status) {
        return error;
    }
    if let Some(error) = connect_failure(status) {
        return error.envelope();
    }
    let message = status.message();
    match status.code() {
        Code::DeadlineExceeded => Error::new(&DEADLINE, "the time limit passed"),
        // What tonic's own time limit gives, on either end.
        Code::Cancelled if message == "Timeout expired" => Error::new(&DEADLINE, "the time limit passed"),
        Code::Unavailable => Error::new(&UNREACHABLE, "no replica of the control plane can be reached"),
        Code::Unknown | Code::Internal | Code::Cancelled if status.source().is_some() => {
            Error::new(&UNREACHABLE, "the connection to the control plane broke")
        }
        Code::ResourceExhausted | Code::OutOfRange => Error::new(&TOO_LARGE, "a message is too large"),
        Code::Unauthenticated => Error::new(&NO_CERTIFICATE, "the call needs a client certificate"),
        Code::PermissionDenied => Error::new(&ROLE_DENIED, "the call is not allowed"),
        Code::NotFound => Error::new(&NOT_FOUND, "there is no such object"),
        Code::AlreadyExists => Error::new(&ALREADY_EXISTS, "the name is taken"),
        Code::InvalidArgument => Error::new(&MALFORMED, "the request is malformed"),
        Code::FailedPrecondition => Error::new(&OBJECT_INVALID, "the request was refused"),
        Code::Aborted => Error::new(&BUSY, "the request was not taken"),
        Code::Unimplemented => Error::new(&VERSION_SKEW, "the other end doesn't know this call"),
        Code::Ok | Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => {
            Error::new(&INTERNAL, "the call failed")
        }
    }
    .because(format!("{:?}: {message}", status.code()))
}

fn carried(status: &Status) -> Option<Error> {
    if status.details().is_empty() || status.details().len() > DETAILS_LIMIT {
        return None;
    }
    let error = Error::from(v1::Error::decode(status.details()).ok()?);
    error.code.starts_with('W').then_some(error)
}

/// Our own connector's error, somewhere beneath the transport's.
fn connect_failure(status: &Status) -> Option<&crate::Error> {
    let mut source = status.source();
    while let Some(error) = source {
        if let Some(ours) = error.downcast_ref::<crate::Error>() {
            return Some(ours);
        }
        source = error.source();
    }
    None
}

fn details(error: &Error) -> Bytes {
    let mut wire = v1::Error::from(error);
    if wire.encoded_len() <= DETAILS_LIMIT {
        return wire.encode_to_vec().into();
    }
    for text in [
        &mut wire.code,
        &mut wire.reason,
        &mut wire.message,
        &mut wire.object_kind,
        &mut wire.object_namespace,
        &mut wire.object_name,
        &mut wire.field,
    ] {
        *text = cut(text, TEXT_LIMIT);
    }
    wire.remedy.truncate(2);
    for remedy in &mut wire.remedy {
        remedy.text = cut(&remedy.text, TEXT_LIMIT);
        remedy.command = cut(&remedy.command, TEXT_LIMIT);
    }
    let causes = std::mem::take(&mut wire.cause);
    let all = causes.len();
    for cause in causes {
        wire.cause.push(cut(&cause, TEXT_LIMIT));
        // Room for the line that says how many are left out.
        if wire.encoded_len() > DETAILS_LIMIT - 64 {
            wire.cause.pop();
            break;
        }
    }
    if wire.cause.len() < all {
        wire.cause.push(format!("and {} more", all - wire.cause.len()));
    }
    wire.encode_to_vec().into()
}

/// At most `limit` bytes, cut between characters.
fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mark = '…';
    let mut end = limit - mark.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{mark}", &text[..end])
}

#[cfg(test)]
mod tests {
    use weft_errors::{ALL, NO_LEADER, RANGE_OVERLAP};

    use super::*;

    #[test]
    fn every_code_comes_back_through_a_status() {
        for code in ALL {
            let error =
                Error::new(code, "what failed").object("node", "", "n1").field("spec.x").because("why");
            let status = status_of(&error);
            assert_ne!(status.code(), Code::Ok, "{code}");
            assert_eq!(error_of(&status), error);
        }
        assert_eq!(status_of(&Error::new(&NO_LEADER, "x")).code(), Code::Unavailable);
        assert_eq!(status_of(&Error::new(&RANGE_OVERLAP, "x")).code(), Code::FailedPrecondition);
    }

    #[test]
    fn long_details_are_cut_with_a_count() {
        let many = (0..1000).fold(Error::new(&RANGE_OVERLAP, "ü".repeat(50_000)), |error, n| {
            error.because(format!("route {n} of node n{n} overlaps"))
        });
        let long =
            Error::new(&RANGE_OVERLAP, "x").because("y".repeat(100 << 10)).try_this("z".repeat(9000), "");
        for error in [many, long] {
            let status = status_of(&error);
            assert!(status.details().len() <= DETAILS_LIMIT, "{}", status.details().len());
            assert!(status.message().len() <= MESSAGE_TEXT_LIMIT);
            let back = error_of(&status);
            assert_eq!(back.code, "W2203");
            assert!(!back.cause.is_empty());
            if error.cause.len() > 1 {
                let left_out = error.cause.len() - (back.cause.len() - 1);
                assert_eq!(back.cause.last().unwrap(), &format!("and {left_out} more"));
            }
        }
    }

    #[test]
    fn foreign_statuses_become_the_nearest_code() {
        for (status, code) in [
            (Status::unauthenticated("x"), "W7001"),
            (Status::unavailable("x"), "W1001"),
            (Status::deadline_exceeded("x"), "W1004"),
            (Status::unimplemented("x"), "W0005"),
            (Status::internal("x"), "W9901"),
            (Status::with_details(Code::NotFound, "x", Bytes::from_static(b"\xff\xff")), "W3101"),
        ] {
            let error = error_of(&status);
            assert_eq!(error.code, code, "{status:?}");
            assert!(error.cause[0].ends_with(": x"), "{error}");
        }
    }
}
