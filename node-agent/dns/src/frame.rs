//! Frames between the agent and the DNS process: a length of 4 bytes (big endian), how many descriptors go along (1 byte), one
//! message.
//!
//! In: a connected Unix socket, in blocking mode. Not here: what frames mean (`link.rs` here, `names/` in the agent).

use std::{
    collections::VecDeque,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use prost::Message;
use rustix::{
    cmsg_space,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recvmsg, sendmsg,
    },
};

use crate::limits;

/// Descriptors of one frame at most.
const DESCRIPTORS: usize = limits::SOCKETS;
/// Length and number of descriptors.
const HEAD: usize = 5;
/// Bytes read at once.
const READ: usize = 64 << 10;

/// Sends a frame with its descriptors. Gives up when the other side doesn't take it within a few seconds.
pub fn send(stream: &UnixStream, message: &impl Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let length = u32::try_from(message.encoded_len()).map_err(|_| invalid("a frame is too long"))?;
    let along = u8::try_from(descriptors.len()).map_err(|_| invalid("a frame has too many descriptors"))?;
    let mut bytes = Vec::with_capacity(message.encoded_len() + HEAD);
    bytes.extend(length.to_be_bytes());
    bytes.push(along);
    message.encode(&mut bytes).map_err(io::Error::other)?;
    stream.set_write_timeout(Some(limits::FRAME_TIME))?;
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(invalid("a frame has too many descriptors"));
    }
    let mut sent = 0;
    while sent < bytes.len() {
        match sendmsg(stream, &[IoSlice::new(&bytes[sent..])], &mut control, SendFlags::NOSIGNAL) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                sent += count;
                // They went with the first bytes.
                control.clear();
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads frames. One that has come in part is kept for the next call.
#[derive(Debug)]
pub struct Frames {
    stream: UnixStream,
    bytes: Vec<u8>,
    begun: Option<Instant>,
    descriptors: VecDeque<OwnedFd>,
}

/// What came.
#[derive(Debug)]
pub enum Received<M> {
    /// A frame, and descriptors that came with it.
    Frame(M, Vec<OwnedFd>),
    /// Nothing in time.
    Nothing,
    /// The other side has closed.
    End,
}

impl Frames {
    /// Over a connection; the caller may send on a clone of it.
    pub const fn new(stream: UnixStream) -> Self {
        Self { stream, bytes: Vec::new(), begun: None, descriptors: VecDeque::new() }
    }

    /// The next frame; waits for it at most `wait`.
    pub fn receive<M: Message + Default>(&mut self, wait: Duration) -> io::Result<Received<M>> {
        let until = Instant::now() + wait;
        loop {
            if let Some((message, descriptors)) = self.take()? {
                return Ok(Received::Frame(message, descriptors));
            }
            if self.begun.is_some_and(|begun| begun.elapsed() > limits::FRAME_TIME) {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a frame came in part only"));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Received::Nothing);
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.read() {
                Ok(0) => return Ok(Received::End),
                Ok(_) => {}
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn take<M: Message + Default>(&mut self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        let Some([a, b, c, d, along]) = self.bytes.first_chunk::<HEAD>().copied() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > limits::FRAME {
            return Err(invalid("a frame is too long"));
        }
        let Some(body) = self.bytes.get(HEAD..HEAD + length) else { return Ok(None) };
        // They came with the frame's first bytes; those of the next one may be there too.
        let along = usize::from(along);
        if along > self.descriptors.len() {
            return Err(invalid("descriptors are missing"));
        }
        let message = M::decode(body).map_err(|error| invalid(&error.to_string()))?;
        self.bytes.drain(..HEAD + length);
        self.begun = (!self.bytes.is_empty()).then(Instant::now);
        Ok(Some((message, self.descriptors.drain(..along).collect())))
    }

    fn read(&mut self) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let start = self.bytes.len();
        self.bytes.resize(start + READ, 0);
        let read = recvmsg(
            self.stream.as_fd(),
            &mut [IoSliceMut::new(&mut self.bytes[start..])],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        );
        let count = read.as_ref().map_or(0, |message| message.bytes);
        self.bytes.truncate(start + count);
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        if self.descriptors.len() > 2 * DESCRIPTORS {
            return Err(invalid("more descriptors than a frame may have"));
        }
        if count > 0 {
            self.begun.get_or_insert_with(Instant::now);
        }
        Ok(read.map(|message| message.bytes)?)
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::{fs::File, io::Write};

    use weft_proto::v1;

    use super::*;

    fn word(pid: u32) -> v1::NamesHello {
        v1::NamesHello { pid, version: "x".repeat(100_000), sockets: None }
    }

    const SOON: Duration = Duration::from_secs(5);

    fn next(frames: &mut Frames) -> (u32, usize) {
        match frames.receive::<v1::NamesHello>(SOON).unwrap() {
            Received::Frame(hello, descriptors) => (hello.pid, descriptors.len()),
            Received::Nothing | Received::End => panic!("a frame is there"),
        }
    }

    #[test]
    fn frames_come_whole_with_their_own_descriptors() {
        let (here, there) = UnixStream::pair().unwrap();
        let file = File::open("/dev/null").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                send(&here, &word(1), &[]).unwrap();
                send(&here, &word(2), &[file.as_fd(), file.as_fd()]).unwrap();
                send(&here, &word(3), &[file.as_fd()]).unwrap();
            });
            let mut frames = Frames::new(there);
            assert_eq!([1, 2, 3].map(|_| next(&mut frames)), [(1, 0), (2, 2), (3, 1)]);
            let nothing = frames.receive::<v1::NamesHello>(Duration::from_millis(10)).unwrap();
            assert!(matches!(nothing, Received::Nothing));
        });
    }

    #[test]
    fn what_is_no_frame_is_refused_and_an_end_is_told() {
        let (mut here, there) = UnixStream::pair().unwrap();
        let mut frames = Frames::new(there);
        here.write_all(&[0xff; HEAD]).unwrap();
        assert!(frames.receive::<v1::NamesHello>(SOON).is_err());
        let (mut here, there) = UnixStream::pair().unwrap();
        here.write_all(&[0, 0, 0, 0, 1]).unwrap();
        let missing = Frames::new(there).receive::<v1::NamesHello>(SOON).unwrap_err();
        assert_eq!(missing.to_string(), "descriptors are missing");
        let (here, there) = UnixStream::pair().unwrap();
        let mut frames = Frames::new(there);
        drop(here);
        assert!(matches!(frames.receive::<v1::NamesHello>(SOON).unwrap(), Received::End));
    }
}
