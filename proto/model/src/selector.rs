//! Label selectors: `k=v`, `k==v`, `k!=v`, `k`, `!k`, joined by commas (Kubernetes, "Labels and Selectors",
//! equality-based).

use std::{fmt, str::FromStr};

use crate::Labels;

/// One requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Is(String, String),
    IsNot(String, String),
    Has(String),
    HasNot(String),
}

/// What labels must be like: all requirements hold. The empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

/// A text isn't a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part:?} is no part of a label selector")]
pub struct SelectorError {
    /// The piece between two commas that isn't understood.
    pub part: String,
}

impl Selector {
    /// Whether labels fulfil every requirement.
    pub fn selects(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::Is(key, value) => labels.get(key) == Some(value),
            Requirement::IsNot(key, value) => labels.get(key) != Some(value),
            Requirement::Has(key) => labels.contains_key(key),
            Requirement::HasNot(key) => !labels.contains_key(key),
        })
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(requirement).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match requirement {
                Requirement::Is(key, value) => write!(f, "{key}={value}")?,
                Requirement::IsNot(key, value) => write!(f, "{key}!={value}")?,
                Requirement::Has(key) => f.write_str(key)?,
                Requirement::HasNot(key) => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

fn requirement(part: &str) -> Result<Requirement, SelectorError> {
    let pair = |split: &str| part.split_once(split).map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned()));
    let requirement = if let Some((key, value)) = pair("!=") {
        Requirement::IsNot(key, value)
    } else if let Some((key, value)) = pair("==").or_else(|| pair("=")) {
        Requirement::Is(key, value)
    } else if let Some(key) = part.strip_prefix('!') {
        Requirement::HasNot(key.trim().to_owned())
    } else {
        Requirement::Has(part.to_owned())
    };
    let (Requirement::Is(key, _)
    | Requirement::IsNot(key, _)
    | Requirement::Has(key)
    | Requirement::HasNot(key)) = &requirement;
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(SelectorError { part: part.to_owned() });
    }
    Ok(requirement)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(selector: &str, labels: &str, selected: bool) {
        let pairs = labels.split(',').filter_map(|label| label.split_once('='));
        let labels: Labels = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let parsed: Selector = selector.parse().unwrap();
        assert_eq!(parsed.selects(&labels), selected, "{selector} on {labels:?}");
        assert_eq!(parsed.to_string().parse(), Ok(parsed), "{selector}: what it prints is what it is");
    }

    #[test]
    fn selectors_choose_by_labels() {
        check("", "app=web", true);
        check("app=web", "app=web,tier=fe", true);
        check("app==web , tier=fe", "app=web,tier=fe", true);
        check("app=web,tier=be", "app=web,tier=fe", false);
        check("tier!=fe", "app=web", true);
        check("tier!=fe", "tier=fe", false);
        check("tier", "tier=fe", true);
        check("tier", "app=web", false);
        check("!tier", "app=web", true);
        check("!tier", "tier=fe", false);
    }

    #[test]
    fn what_is_no_selector_is_named() {
        for (text, part) in [("=web", "=web"), ("app=web,a b=c", "a b=c"), ("!", "!")] {
            assert_eq!(text.parse::<Selector>(), Err(SelectorError { part: part.to_owned() }));
        }
    }
}
