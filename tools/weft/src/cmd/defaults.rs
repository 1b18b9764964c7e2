//! What holds in namespaces where no policy isolates a pod: of the fabric, or of the namespace itself.

use serde_json::{Value, json};
use weft_model::{
    DEFAULT_POLICY_LABEL, DefaultPolicy, Item, Kind, NAMESPACE_NAME_LABEL, NamespaceItem, Object,
    PolicySettings,
};
use weft_proto::v1;

use super::get::{items, one_object, typed};
use crate::{client::Session, fail::Outcome};

/// Namespaces as values, each with what holds in it by default.
pub(crate) async fn list(session: &Session, selector: &str) -> Outcome<Value> {
    let (namespaces, revision) = typed(session, Kind::Namespace, "", selector).await?;
    let settings = settings(session).await?;
    let values = namespaces.iter().map(|object| value(object, settings)).collect();
    Ok(weft_yaml::list_value(values, revision))
}

/// One namespace as a value.
pub(crate) async fn one(session: &Session, name: &str) -> Outcome<Value> {
    let (object, _) = one_object(session, Kind::Namespace, name).await?;
    Ok(value(&object, settings(session).await?))
}

/// `closed by default: dev (deny, by its label), shop (deny-ingress, by the fabric)`; `None`: nothing is. `namespace` is empty for all.
pub(crate) async fn closed(session: &Session, namespace: &str) -> Outcome<Option<String>> {
    let (all, _) = items(session, v1::ItemKind::Namespace, "", "").await?;
    let namespaces: Vec<NamespaceItem> = all
        .into_iter()
        .filter_map(|item| if let Item::Namespace(item) = item { Some(item) } else { None })
        .filter(|item| namespace.is_empty() || item.name.as_str() == namespace)
        .collect();
    Ok(sentence(&namespaces, settings(session).await?))
}

async fn settings(session: &Session) -> Outcome<PolicySettings> {
    let (fabric, _) = items(session, v1::ItemKind::Fabric, "", "").await?;
    let found = fabric
        .into_iter()
        .find_map(|item| if let Item::Fabric(fabric) = item { Some(fabric.policy) } else { None });
    Ok(found.unwrap_or_default())
}

fn sentence(namespaces: &[NamespaceItem], settings: PolicySettings) -> Option<String> {
    let told = namespaces.iter().filter_map(|item| {
        let default = settings.default_of(&item.labels);
        let by = if item.labels.contains_key(DEFAULT_POLICY_LABEL) { "its label" } else { "the fabric" };
        (default != DefaultPolicy::Allow).then(|| format!("{} ({default}, by {by})", item.name))
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| format!("closed by default: {}", told.join(", ")))
}

fn value(object: &Object, settings: PolicySettings) -> Value {
    let mut value = weft_yaml::object_value(object);
    if let (Object::Namespace(namespace), Value::Object(map)) = (object, &mut value) {
        let mut labels = namespace.labels.clone();
        labels.insert(NAMESPACE_NAME_LABEL.to_owned(), namespace.name.to_string());
        let default = settings.default_of(&labels);
        let by = match (labels.contains_key(DEFAULT_POLICY_LABEL), default) {
            (true, _) => "its label",
            (false, DefaultPolicy::Allow) => "",
            (false, _) => "the fabric",
        };
        let status = map.entry("status").or_insert_with(|| json!({}));
        if let Value::Object(status) = status {
            status.insert("defaultPolicy".to_owned(), json!({"policy": default.to_string(), "by": by}));
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use weft_model::{Labels, NodeEgress};

    use super::*;

    #[test]
    fn what_is_closed_is_named_with_who_closed_it() {
        let space = |name: &str, label: Option<&str>| {
            let own = (NAMESPACE_NAME_LABEL.to_owned(), name.to_owned());
            let label = label.map(|word| (DEFAULT_POLICY_LABEL.to_owned(), word.to_owned()));
            NamespaceItem {
                name: name.parse().unwrap(),
                labels: [own].into_iter().chain(label).collect::<Labels>(),
            }
        };
        let all = [
            space("dev", Some("deny")),
            space("kube-system", None),
            space("open", Some("allow")),
            space("shop", None),
        ];
        let check = |default: DefaultPolicy, expected: Option<&str>| {
            let settings = PolicySettings { default, node_egress: NodeEgress::Policy };
            assert_eq!(sentence(&all, settings).as_deref(), expected);
        };
        check(DefaultPolicy::Allow, Some("closed by default: dev (deny, by its label)"));
        check(
            DefaultPolicy::DenyIngress,
            Some("closed by default: dev (deny, by its label), shop (deny-ingress, by the fabric)"),
        );
        assert_eq!(sentence(&all[1..3], PolicySettings::default()), None);
    }
}
