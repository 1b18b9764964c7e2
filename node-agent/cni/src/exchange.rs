//! One request and one answer over the agent's socket.
//!
//! Request: version byte 1, length (u32, big-endian), JSON. Answer: version byte 1, exit status byte, length (u32,
//! big-endian), bytes for standard output.

use std::{
    env,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{answer::Answer, environment::Call, json};

/// Version of the frames.
const FRAME_VERSION: u8 = 1;
/// Largest answer, bytes.
const MAX_ANSWER: u32 = 1024 * 1024;

/// `/run/weft/cni.sock`, or another one for a test.
pub(crate) fn socket_path() -> PathBuf {
    env::var_os("WEFT_CNI_SOCKET").map_or_else(|| "/run/weft/cni.sock".into(), PathBuf::from)
}

/// The request frame of a call.
pub(crate) fn frame(call: &Call, config: &str) -> Vec<u8> {
    let variables = call.variables.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let body = format!(
        "{{\"command\":{},\"env\":{},\"config\":{}}}",
        json::text(&call.command),
        json::object(variables),
        json::text(config)
    );
    let mut frame = vec![FRAME_VERSION];
    frame.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend(body.into_bytes());
    frame
}

/// Asks the agent. The error says why there is no answer.
pub(crate) fn ask(frame: &[u8], deadline: Instant) -> Result<Answer, String> {
    let mut stream = UnixStream::connect(socket_path()).map_err(|e| e.to_string())?;
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let limits = stream.set_read_timeout(Some(left)).and_then(|()| stream.set_write_timeout(Some(left)));
    limits.map_err(|e| e.to_string())?;
    stream.write_all(frame).map_err(|e| e.to_string())?;
    read_answer(&mut stream).map_err(|e| {
        if e.kind() == io::ErrorKind::UnexpectedEof {
            "it closed the connection before it answered".to_owned()
        } else if e.kind() == io::ErrorKind::WouldBlock {
            "it didn't answer in time".to_owned()
        } else {
            e.to_string()
        }
    })
}

fn read_answer(stream: &mut impl Read) -> io::Result<Answer> {
    let mut head = [0; 6];
    stream.read_exact(&mut head)?;
    let [version, status, length @ ..] = head;
    let length = u32::from_be_bytes(length);
    if version != FRAME_VERSION || length > MAX_ANSWER {
        return Err(io::Error::other("its answer is of a version that this weft-cni doesn't know"));
    }
    let mut text = Vec::new();
    stream.take(length.into()).read_to_end(&mut text)?;
    if text.len() != length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Answer { status, text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Verb;

    #[test]
    fn a_frame_is_version_length_and_json() {
        let variables = vec![("CNI_PATH".to_owned(), "/opt/\"cni\"".to_owned())];
        let call = Call { verb: Verb::Status, command: "STATUS".to_owned(), variables };
        let frame = frame(&call, "{\n}");
        let body = br#"{"command":"STATUS","env":{"CNI_PATH":"/opt/\"cni\""},"config":"{\n}"}"#;
        assert_eq!(frame[..5], [1, 0, 0, 0, u8::try_from(body.len()).unwrap()]);
        assert_eq!(&frame[5..], body);
    }

    #[test]
    fn answers_are_read_whole_or_refused() {
        let read = |bytes: &[u8]| read_answer(&mut &bytes[..]).map_err(|e| e.kind());
        assert_eq!(read(b"\x01\x07\0\0\0\x02hi"), Ok(Answer { status: 7, text: b"hi".to_vec() }));
        assert_eq!(read(b"\x01\0\0\0\0\x05hi"), Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(read(b"\x02\0\0\0\0\0"), Err(io::ErrorKind::Other));
        assert_eq!(read(b"\x01\0\xff\0\0\0"), Err(io::ErrorKind::Other), "larger than 1 MiB");
    }
}
