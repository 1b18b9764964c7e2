//! Label selectors: `k=v`, `k==v`, `k!=v`, `k`, `!k`, joined by commas (Kubernetes, labels and selectors, equality-based).

use weft_errors::{Error, OBJECT_INVALID};
use weft_model::{Labels, Object};

/// One requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Is(String, String),
    IsNot(String, String),
    Has(String),
    HasNot(String),
}

/// A parsed selector; the empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Requirement>);

impl Selector {
    /// Reads a selector.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(requirement).collect::<Result<_, _>>().map(Self)
    }

    /// Whether an object's labels fulfil every requirement.
    pub(crate) fn selects(&self, object: &Object) -> bool {
        let none = Labels::new();
        let labels = match object {
            Object::Node(node) => &node.labels,
            Object::Pod(pod) => &pod.labels,
            Object::Namespace(namespace) => &namespace.labels,
            Object::Service(service) => &service.labels,
            Object::Slice(slice) => &slice.labels,
            Object::PodSpec(spec) => &spec.labels,
            Object::Fabric(_) | Object::Lease(_) | Object::Member(_) | Object::Pool(_) | Object::Owner(_) => {
                &none
            }
        };
        self.0.iter().all(|requirement| match requirement {
            Requirement::Is(key, value) => labels.get(key) == Some(value),
            Requirement::IsNot(key, value) => labels.get(key) != Some(value),
            Requirement::Has(key) => labels.contains_key(key),
            Requirement::HasNot(key) => !labels.contains_key(key),
        })
    }
}

fn requirement(part: &str) -> Result<Requirement, Error> {
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
    let key = match &requirement {
        Requirement::Is(key, _)
        | Requirement::IsNot(key, _)
        | Requirement::Has(key)
        | Requirement::HasNot(key) => key,
    };
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(Error::new(&OBJECT_INVALID, format!("{part:?} is no part of a label selector"))
            .field("selector")
            .try_this("write KEY=VALUE, KEY!=VALUE, KEY or !KEY, joined by commas", ""));
    }
    Ok(requirement)
}

#[cfg(test)]
mod tests {
    use weft_model::{AttachmentId, NodeName, Pod, PodPhase, PodUid, Revision, WallTime};

    use super::*;

    fn check(selector: &str, labels: &str, selected: bool) {
        let pod = Pod {
            uid: PodUid([0; 16]),
            name: "shop/web".parse().unwrap(),
            labels: labels
                .split(',')
                .filter_map(|l| l.split_once('='))
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect(),
            node: NodeName::new("n1").unwrap(),
            attachment: AttachmentId { container: "c".to_owned(), interface: "eth0".to_owned() },
            addresses: Vec::new(),
            ports: Vec::new(),
            phase: PodPhase::Active,
            ready: true,
            terminating: false,
            created: WallTime(0),
            revision: Revision(1),
        };
        assert_eq!(
            Selector::parse(selector).unwrap().selects(&Object::Pod(pod)),
            selected,
            "{selector} on {labels}"
        );
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
        assert!(Selector::parse("=web").is_err() && Selector::parse("a b=c").is_err());
    }
}
