//! TUN devices: made persistent by the agent, attached to by the tunnel process.
//!
//! In: a device name. Out: an open, non-blocking file descriptor of `/dev/net/tun`, or the fact that the device exists.
//! Not here: addresses, MTU and state of the link (netlink), packets (weft-tunnel reads and writes the descriptor).
//! Source: `linux/if_tun.h`, `drivers/net/tun.c`. Existence is asked of the caller's network namespace by ioctl, because
//! `/sys/class/net` shows the namespace in which it was mounted.
#![allow(unsafe_code, reason = "the TUN and ethtool ioctls have no safe wrapper in any crate we use")]

use std::{
    ffi::{c_int, c_short},
    fs::OpenOptions,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
};

use weft_errors::{Code, Coded};

/// Where TUN devices are opened.
pub const TUN_CONTROL: &str = "/dev/net/tun";

/// What can go wrong with a TUN device.
#[derive(Debug, thiserror::Error)]
pub enum TunError {
    /// Not a name that a link can have (1 to 15 bytes, no `/`, no space).
    #[error("{name:?} is not a name that a network link can have")]
    Name {
        /// The refused name.
        name: String,
    },
    /// `/dev/net/tun` can't be opened.
    #[error("{TUN_CONTROL} can't be opened")]
    Unavailable {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A link of another kind has the name.
    #[error("link {name} exists and is a {kind} link, not a TUN device")]
    Foreign {
        /// The name.
        name: String,
        /// Its kind as its driver calls it.
        kind: String,
    },
    /// There is no such device, or it isn't persistent yet.
    #[error("there is no persistent TUN device {name}")]
    Missing {
        /// The name.
        name: String,
    },
    /// Another process is attached to the device.
    #[error("another process is attached to the TUN device {name}")]
    Busy {
        /// The name.
        name: String,
    },
    /// The kernel refused a step.
    #[error("TUN device {name}: the kernel refused to {step}")]
    Refused {
        /// The name.
        name: String,
        /// What was tried, in words.
        step: &'static str,
        /// Its answer.
        #[source]
        source: io::Error,
    },
}

impl Coded for TunError {
    fn code(&self) -> &'static Code {
        &weft_errors::LINK_FAILED
    }

    fn envelope(&self) -> weft_errors::Error {
        let mut error = weft_errors::Error::new(self.code(), self.to_string());
        if let Self::Unavailable { source } | Self::Refused { source, .. } = self {
            error = error.because(source);
        }
        match self {
            Self::Unavailable { .. } => error.try_this(
                "give the process /dev/net/tun and CAP_NET_ADMIN, or use a kernel with WireGuard",
                "ls -l /dev/net/tun",
            ),
            Self::Foreign { name, .. } => error
                .object("link", "", name)
                .try_this("remove or rename the foreign link", format!("ip link delete {name}")),
            Self::Busy { name } => {
                error.object("link", "", name).try_this("stop the other process of this device", "")
            }
            Self::Missing { name } => {
                error.object("link", "", name).try_this("start weft-agent: it makes the device", "")
            }
            Self::Name { name } | Self::Refused { name, .. } => error.object("link", "", name),
        }
    }
}

/// What [`ensure_tun`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunEnsured {
    /// The device was made now.
    Created,
    /// It was there; nothing was touched.
    Present,
}

/// An attached TUN device: a non-blocking descriptor that carries one IP packet per read or write.
///
/// Reads fail with `EBADFD` once the device has been deleted; writes fail with `EIO` while the link is down.
#[derive(Debug)]
pub struct Tun {
    fd: OwnedFd,
    name: String,
}

impl Tun {
    /// Attaches to an existing persistent device; never leaves a new one behind.
    ///
    /// Fails with `Missing` when there is none yet and with `Busy` while another process holds it: both may pass.
    pub fn attach(name: &str) -> Result<Self, TunError> {
        match link_kind(name)?.as_deref() {
            None => return Err(TunError::Missing { name: name.to_owned() }),
            Some("tun") => {}
            Some(kind) => return Err(TunError::Foreign { name: name.to_owned(), kind: kind.to_owned() }),
        }
        let tun = Self::open(name)?;
        // The device may have gone since; then the kernel has just made another one that dies with this descriptor.
        if tun.flags()? & IFF_PERSIST == 0 {
            return Err(TunError::Missing { name: name.to_owned() });
        }
        Ok(tun)
    }

    /// Name of the device.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The descriptor, for a reactor of the caller's.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    fn open(name: &str) -> Result<Self, TunError> {
        let mut request = interface_request(name)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(TUN_CONTROL)
            .map_err(|source| TunError::Unavailable { source })?;
        request.ifr_ifru.ifru_flags = IFF_TUN | IFF_NO_PI;
        // SAFETY: TUNSETIFF reads and writes one `struct ifreq`; `request` is one, initialised, and outlives the call.
        // WHY: no safe wrapper exists.
        let answer = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) };
        let tun = Self { fd: file.into(), name: name.to_owned() };
        if answer < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EBUSY) {
            return Err(TunError::Busy { name: tun.name });
        }
        tun.checked(answer, "attach")?;
        Ok(tun)
    }

    fn flags(&self) -> Result<c_short, TunError> {
        let mut request = interface_request(&self.name)?;
        // SAFETY: TUNGETIFF writes one `struct ifreq`; `request` is one, initialised, and outlives the call.
        // WHY: no safe wrapper exists.
        let answer = unsafe { libc::ioctl(self.fd.as_raw_fd(), TUNGETIFF, &raw mut request) };
        self.checked(answer, "tell its flags")?;
        // SAFETY: TUNGETIFF has filled `ifru_flags`, and any bit pattern is a valid `c_short`.
        // WHY: `ifreq` holds a union.
        Ok(unsafe { request.ifr_ifru.ifru_flags })
    }

    fn set_number(&self, code: libc::Ioctl, number: c_int, step: &'static str) -> Result<(), TunError> {
        // SAFETY: TUNSETPERSIST and TUNSETOWNER, the only codes passed here, take a plain number, no pointer.
        // WHY: no safe wrapper exists.
        let answer = unsafe { libc::ioctl(self.fd.as_raw_fd(), code, number) };
        self.checked(answer, step)
    }

    fn checked(&self, answer: c_int, step: &'static str) -> Result<(), TunError> {
        if answer < 0 {
            let source = io::Error::last_os_error();
            return Err(TunError::Refused { name: self.name.clone(), step, source });
        }
        Ok(())
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes sure that a persistent TUN device of this name exists; it outlives every process until its link is deleted.
///
/// `owner` is the user that may attach without CAP_NET_ADMIN (`None`: only the privileged). An existing device is left
/// alone, so a running tunnel is never disturbed.
pub fn ensure_tun(name: &str, owner: Option<u32>) -> Result<TunEnsured, TunError> {
    match link_kind(name)?.as_deref() {
        Some("tun") => return Ok(TunEnsured::Present),
        Some(kind) => return Err(TunError::Foreign { name: name.to_owned(), kind: kind.to_owned() }),
        None => {}
    }
    let tun = Tun::open(name)?;
    if let Some(owner) = owner {
        let owner = c_int::try_from(owner).map_err(|_| TunError::Refused {
            name: name.to_owned(),
            step: "give it to its owner",
            source: io::Error::from_raw_os_error(libc::EINVAL),
        })?;
        tun.set_number(TUNSETOWNER, owner, "give it to its owner")?;
    }
    tun.set_number(TUNSETPERSIST, 1, "make it persistent")?;
    Ok(TunEnsured::Created)
}

/// Kind of a link of the caller's network namespace as its driver calls itself (`tun`, `wireguard`, `veth`, …);
/// `None` when there is no such link, empty when the driver has no name.
pub fn link_kind(name: &str) -> Result<Option<String>, TunError> {
    let mut info = DriverInfo { command: ETHTOOL_GDRVINFO, driver: [0; 32], rest: [0; 160] };
    let mut request = interface_request(name)?;
    request.ifr_ifru.ifru_data = (&raw mut info).cast();
    let socket = any_socket(name)?;
    // SAFETY: SIOCETHTOOL reads one `struct ifreq` whose data pointer leads to a command of 4 bytes and, for
    // ETHTOOL_GDRVINFO, room for `struct ethtool_drvinfo` (196 bytes): `info` has both and outlives the call.
    // WHY: no safe wrapper exists; netlink would need a dump parser in the tunnel process.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if answer < 0 {
        let source = io::Error::last_os_error();
        return match source.raw_os_error() {
            Some(libc::ENODEV) => Ok(None),
            Some(libc::EOPNOTSUPP) => Ok(Some(String::new())),
            _ => Err(TunError::Refused { name: name.to_owned(), step: "tell its kind", source }),
        };
    }
    let length = info.driver.iter().position(|b| *b == 0).unwrap_or(info.driver.len());
    Ok(Some(String::from_utf8_lossy(&info.driver[..length]).into_owned()))
}

/// MTU of a link of the caller's network namespace in bytes; `None` when there is no such link.
pub fn link_mtu(name: &str) -> Result<Option<u32>, TunError> {
    let mut request = interface_request(name)?;
    let socket = any_socket(name)?;
    // SAFETY: SIOCGIFMTU reads and writes one `struct ifreq`; `request` is one, initialised, and outlives the call.
    // WHY: no safe wrapper exists.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU, &raw mut request) };
    if answer < 0 {
        let source = io::Error::last_os_error();
        if source.raw_os_error() == Some(libc::ENODEV) {
            return Ok(None);
        }
        return Err(TunError::Refused { name: name.to_owned(), step: "tell its MTU", source });
    }
    // SAFETY: SIOCGIFMTU has filled `ifru_mtu`, and any bit pattern is a valid `c_int`.
    // WHY: `ifreq` holds a union.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    Ok(u32::try_from(mtu).ok())
}

/// A socket on which the kernel takes questions about links of this thread's network namespace.
fn any_socket(name: &str) -> Result<OwnedFd, TunError> {
    rustix::net::socket_with(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::DGRAM,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|errno| TunError::Refused {
        name: name.to_owned(),
        step: "open a socket",
        source: errno.into(),
    })
}

/// A zeroed request with the name filled in; refuses what the kernel would cut or read as a pattern.
fn interface_request(name: &str) -> Result<libc::ifreq, TunError> {
    let bad = |b: u8| b == 0 || b == b'/' || b == b':' || b == b'%' || b.is_ascii_whitespace();
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.bytes().any(bad) || name == "." || name == ".."
    {
        return Err(TunError::Name { name: name.to_owned() });
    }
    // SAFETY: `ifreq` is plain data (a byte array and a union of plain data); all zeroes is a valid value of it.
    // WHY: the type offers no other constructor.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    Ok(request)
}

/// `struct ethtool_drvinfo` of `linux/ethtool.h`: only the driver's name matters here.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

const IFF_TUN: c_short = 0x0001;
const IFF_NO_PI: c_short = 0x1000;
const IFF_PERSIST: c_short = 0x0800;
const TUNSETIFF: libc::Ioctl = nix::request_code_write!(b'T', 202, size_of::<c_int>());
const TUNSETPERSIST: libc::Ioctl = nix::request_code_write!(b'T', 203, size_of::<c_int>());
const TUNSETOWNER: libc::Ioctl = nix::request_code_write!(b'T', 204, size_of::<c_int>());
const TUNGETIFF: libc::Ioctl = nix::request_code_read!(b'T', 210, size_of::<c_int>());
const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_would_bend_are_refused() {
        for name in ["", "abcdefghijklmnop", "a/b", "a b", "tun%d", "a:b", "a\0", ".", ".."] {
            assert!(matches!(link_kind(name), Err(TunError::Name { .. })), "{name:?}");
        }
        assert_eq!(link_kind("weft-none").unwrap(), None);
        assert!(link_kind("lo").unwrap().is_some());
        assert!(link_mtu("lo").unwrap().is_some());
        assert_eq!(link_mtu("weft-none").unwrap(), None);
    }

    #[test]
    fn a_missing_device_is_not_made_by_attaching() {
        let Err(error) = Tun::attach("weft-none") else { panic!("attached to nothing") };
        assert!(matches!(error, TunError::Missing { .. }), "{error}");
        assert_eq!(link_kind("weft-none").unwrap(), None);
    }

    #[test]
    fn a_link_of_another_kind_is_named() {
        // A thread may enter a namespace of its own; it needs a privilege that an ordinary user may lack.
        let outcome = std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).ok()?;
            Some((
                ensure_tun("lo", None),
                ensure_tun("weft0", None),
                ensure_tun("weft0", None),
                Tun::attach("weft0"),
            ))
        })
        .join()
        .unwrap();
        let Some((foreign, first, second, attached)) = outcome else { return };
        assert!(matches!(foreign, Err(TunError::Foreign { .. })), "{foreign:?}");
        match first {
            Err(TunError::Unavailable { .. }) => {}
            first => {
                assert_eq!(first.unwrap(), TunEnsured::Created);
                assert_eq!(second.unwrap(), TunEnsured::Present);
                assert_eq!(attached.unwrap().name(), "weft0");
            }
        }
    }
}
