//! Takes the frames of one interface from the kernel (AF_PACKET) into a file.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvmsg,
    setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::pcapng::{SNAP_LENGTH, Writer};
use crate::Result;
use crate::protocol::Captured;

/// Kernel buffer of one capture, in bytes; the kernel caps it at `net.core.rmem_max`.
const BUFFER: usize = 16 << 20;
/// How long a stopped capture waits for a frame that is still on its way.
const LAST_WAIT_MS: i64 = 30;

/// An open capture socket, bound to one interface.
pub struct Tap {
    socket: OwnedFd,
    interface: String,
    index: usize,
}

impl Tap {
    /// Opens a tap on `interface` of the calling thread's network namespace; it keeps working when the thread has left.
    pub fn open(interface: &str) -> Result<Self> {
        let link = nix::ifaddrs::getifaddrs()?
            .filter(|entry| entry.interface_name == interface)
            .find_map(|entry| entry.address.and_then(|address| address.as_link_addr().copied()))
            .with_context(|| format!("there is no interface {interface} to capture on"))?;
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)
            .context("open a packet socket")?;
        setsockopt(&socket, sockopt::RcvBuf, &BUFFER)?;
        setsockopt(&socket, sockopt::RxqOvfl, &1)?;
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(LAST_WAIT_MS))?;
        bind(socket.as_raw_fd(), &link).with_context(|| format!("bind to {interface}"))?;
        Ok(Self { socket, interface: interface.to_owned(), index: link.ifindex() })
    }

    /// Calls `each` for every frame until it says no or `stop` does and nothing is left. Returns how many the kernel dropped.
    pub fn run(
        &self,
        stop: &dyn Fn() -> bool,
        mut each: impl FnMut(SystemTime, &[u8]) -> Result<bool>,
    ) -> Result<u64> {
        let mut buffer = vec![0; SNAP_LENGTH];
        let mut control = nix::cmsg_space!(u32, nix::sys::time::TimeSpec);
        let mut missed = 0;
        loop {
            let mut slices = [IoSliceMut::new(&mut buffer)];
            let received = match recvmsg::<LinkAddr>(
                self.socket.as_raw_fd(),
                &mut slices,
                Some(&mut control),
                MsgFlags::empty(),
            ) {
                Ok(received) => received,
                Err(Errno::EAGAIN | Errno::EINTR) if !stop() => continue,
                // The interface went away or down: the capture goes on if it comes back.
                Err(Errno::ENETDOWN) => continue,
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(missed),
                Err(e) => return Err(e).with_context(|| format!("capture on {}", self.interface)),
            };
            let mut at = SystemTime::now();
            for message in received.cmsgs()? {
                if let ControlMessageOwned::RxqOvfl(count) = message {
                    missed = u64::from(count);
                } else if let ControlMessageOwned::ScmTimestampns(t) = message {
                    at = SystemTime::UNIX_EPOCH + Duration::from(t);
                }
            }
            let (length, from) = (received.bytes, received.address.map(|a| a.ifindex()));
            // Between opening and binding the socket hears every interface.
            if from == Some(self.index) && !each(at, &buffer[..length])? {
                return Ok(missed);
            }
        }
    }
}

/// A capture that runs in a thread of its own.
pub struct Sniffer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Captured>>,
}

impl Sniffer {
    /// Starts writing the tap's frames to `file`.
    pub fn start(tap: Tap, file: &Path) -> Result<Self> {
        let mut writer = Writer::create(file, &tap.interface)?;
        writer.flush()?;
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread =
            std::thread::Builder::new().name(format!("capture {}", tap.interface)).spawn(move || {
                let mut frames = 0;
                let missed = tap.run(&|| flag.load(Ordering::Relaxed), |at, bytes| {
                    frames += 1;
                    writer.frame(at, bytes).map(|()| true)
                })?;
                writer.flush()?;
                Ok(Captured { frames, missed })
            })?;
        Ok(Self { stop, thread })
    }

    /// Stops when everything that had arrived is written.
    pub fn stop(self) -> Result<Captured> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the capture thread panicked"))?
    }
}
