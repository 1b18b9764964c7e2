//! Time and chance of this process: the pure crates take them as arguments.

use std::{
    fs,
    sync::LazyLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use weft_ipam::{BootId, Uptime};
use weft_model::WallTime;

/// What `/proc/uptime` said when this process asked first, and when that was.
static START: LazyLock<(u64, Instant)> = LazyLock::new(|| {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds: f64 = text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "uptime is small and positive"
    )]
    ((seconds * 1000.0) as u64, Instant::now())
});

/// Time since the machine started.
pub(crate) fn uptime() -> Uptime {
    let (then, at) = *START;
    Uptime(then + u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// Wall time now.
pub(crate) fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Identity of this boot of the machine. Zero where the kernel doesn't tell: then every start counts as the same boot.
pub(crate) fn boot_id() -> BootId {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    digits.parse::<weft_model::PodUid>().map(|id| BootId(id.0)).unwrap_or_default()
}

/// Random bytes. Fails only on a machine without a generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], weft_errors::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| {
        weft_errors::Error::new(&weft_errors::INTERNAL, "the system gives no random bytes").because(error)
    })?;
    Ok(bytes)
}

/// One random byte for jitter; 128 without a generator.
pub(crate) fn chance() -> u8 {
    random::<1>().map_or(128, |[byte]| byte)
}
