//! DELs that `weft-cni` kept while no agent answered: carried out at start and whenever some appear.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use weft_errors::{Coded, Error};
use weft_model::{AttachmentId, WallTime};

use super::{
    engine::Engine,
    request::{Call, Request},
    server::decode_body,
};
use crate::limits;

/// Carries out all kept DELs, oldest first, and removes their files. Returns how many there were.
///
/// A pod that was added after the DEL was kept is another life of its container and stays.
pub(crate) fn replay(engine: &Engine, directory: &Path) -> usize {
    let mut files = kept(directory);
    files.sort();
    let count = files.len();
    for (at, path) in files {
        if let Err(error) = replay_one(engine, at, &path) {
            tracing::warn!(%error, file = %path.display(), "a kept DEL can't be carried out yet");
        }
    }
    count
}

/// Files by the wall time in their names.
fn kept(directory: &Path) -> Vec<(WallTime, PathBuf)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    paths.filter_map(|path| Some((kept_at(&path)?, path))).take(limits::SPOOL_BATCH).collect()
}

/// `<milliseconds>-<pid>.del`.
fn kept_at(path: &Path) -> Option<WallTime> {
    let name = path.file_name()?.to_str()?.strip_suffix(".del")?;
    name.split_once('-')?.0.parse().ok().map(WallTime)
}

fn replay_one(engine: &Engine, at: WallTime, path: &Path) -> Result<(), Error> {
    let bytes = weft_process::read_limited(path, limits::MAX_FRAME.into()).map_err(|e| e.envelope())?;
    match attachment(&bytes) {
        Ok(attachment) => remove(engine, at, &attachment)?,
        Err(_) if still_being_written(at) => return Ok(()),
        // Only a cut one is expected, whose runtime never heard of success.
        Err(why) => {
            tracing::warn!(why, file = %path.display(), "a kept DEL can't be understood and is dropped")
        }
    }
    weft_process::durable_remove(path).map_err(|e| e.envelope())
}

fn remove(engine: &Engine, at: WallTime, attachment: &AttachmentId) -> Result<(), Error> {
    let deadline = Instant::now() + limits::ATTACH_DEADLINE;
    let held = engine.lock(&attachment.container, deadline)?;
    let younger = engine.node().addresses.read(|l| l.holding(attachment).is_some_and(|h| h.created > at));
    if younger {
        return Ok(());
    }
    if let Some(holding) = engine.remove(&held, attachment, deadline)? {
        tracing::info!(pod = %holding.pod, %attachment, "carried out a DEL that was kept");
    }
    Ok(())
}

/// The attachment of a whole frame with a valid DEL, else what is wrong with it.
fn attachment(bytes: &[u8]) -> Result<AttachmentId, String> {
    let cut = || "it is cut".to_owned();
    let (head, mut rest) = bytes.split_first_chunk::<5>().ok_or_else(cut)?;
    let [version, length @ ..] = *head;
    let body = decode_body(version, u32::from_be_bytes(length), &mut rest).map_err(|_| cut())?;
    let call: Call = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    match call.check() {
        (_, Ok(Request::Del(id))) => Ok(id),
        (_, Ok(_)) => Err("it isn't a DEL".to_owned()),
        (_, Err(failure)) => Err(failure.message),
    }
}

fn still_being_written(at: WallTime) -> bool {
    let age = Duration::from_millis(crate::clock::wall().0.saturating_sub(at.0));
    age < limits::FRAME_DEADLINE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(command: &str) -> Vec<u8> {
        frame_with(command, "")
    }

    fn frame_with(command: &str, extra: &str) -> Vec<u8> {
        let body = serde_json::json!({
            "command": command,
            "env": {"CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_PATH": "/opt"},
            "config": format!(r#"{{"cniVersion":"1.0.0","name":"weft"{extra}}}"#),
        });
        let body = body.to_string();
        let mut frame = vec![1];
        frame.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        frame.extend(body.into_bytes());
        frame
    }

    #[test]
    fn only_whole_dels_count() {
        let id = AttachmentId { container: "c1".to_owned(), interface: "eth0".to_owned() };
        let whole = frame("DEL");
        assert_eq!(attachment(&whole), Ok(id.clone()));
        assert_eq!(attachment(&frame_with("DEL", r#","ipam":{"type":"x"}"#)), Ok(id));
        for (bytes, why) in [
            (&whole[..whole.len() - 1], "it is cut"),
            (&frame("VERSION"), "it isn't a DEL"),
            (b"\x01\0", "it is cut"),
            (&frame_with("DEL", "]"), "the configuration on standard input can't be decoded"),
        ] {
            assert_eq!(attachment(bytes), Err(why.to_owned()));
        }
    }

    #[test]
    fn files_are_known_by_the_time_in_their_names() {
        assert_eq!(kept_at(Path::new("/x/1700000000000-12.del")), Some(WallTime(1_700_000_000_000)));
        assert_eq!(kept_at(Path::new("/x/.tmp-12.del")), None);
        assert_eq!(kept_at(Path::new("/x/1700-12.txt")), None);
    }
}
