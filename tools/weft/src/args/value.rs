//! Values of arguments: times, expectations, names of pods.

use weft_model::PodName;

/// `--expect`: exactly, or at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// `3`
    Exactly(usize),
    /// `1+`
    AtLeast(usize),
}

impl Expect {
    /// Whether a count is as expected.
    pub(crate) const fn holds(self, count: usize) -> bool {
        match self {
            Self::Exactly(n) => count == n,
            Self::AtLeast(n) => count >= n,
        }
    }
}

impl std::fmt::Display for Expect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exactly(number) => write!(f, "{number}"),
            Self::AtLeast(number) => write!(f, "{number} or more"),
        }
    }
}

impl std::str::FromStr for Expect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |_| format!("{text:?} isn't a number such as 3 or 1+");
        match text.strip_suffix('+') {
            Some(number) => number.parse().map(Self::AtLeast).map_err(bad),
            None => text.parse().map(Self::Exactly).map_err(bad),
        }
    }
}

/// A span of time: `500ms`, `30s`, `5m`, `2h`.
pub(super) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 =
        number.parse().map_err(|_| format!("{text:?} isn't a time such as 500ms, 30s or 5m"))?;
    let ms = match unit {
        "ms" => 1,
        "s" | "" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(format!("{text:?} isn't a time such as 500ms, 30s or 5m")),
    };
    number
        .checked_mul(ms)
        .map(std::time::Duration::from_millis)
        .ok_or_else(|| format!("{text:?} is too long"))
}

/// Life of a token: a span of time from 1m to 24h.
pub(super) fn token_life(text: &str) -> Result<std::time::Duration, String> {
    let life = duration(text)?;
    if (60..=86_400).contains(&life.as_secs()) {
        return Ok(life);
    }
    Err(format!("a token lives 1m to 24h, not {text}"))
}

/// A pod's name on the command line: `NAMESPACE/NAME`, or a bare name in the chosen namespace.
pub(crate) fn pod_name(text: &str, namespace: &str) -> Result<PodName, weft_model::NameError> {
    if text.contains('/') { text.parse() } else { format!("{namespace}/{text}").parse() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_expectations_are_read() {
        assert_eq!(duration("500ms"), Ok(std::time::Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(std::time::Duration::from_secs(120)));
        assert!(duration("soon").is_err() && duration("3d").is_err());
        assert!(token_life("1m").is_ok() && token_life("24h").is_ok());
        assert!(token_life("59s").is_err() && token_life("25h").is_err());
        assert_eq!("1+".parse(), Ok(Expect::AtLeast(1)));
        assert!(Expect::Exactly(0).holds(0) && !Expect::Exactly(0).holds(1) && Expect::AtLeast(1).holds(5));
        assert!("x".parse::<Expect>().is_err());
    }
}
