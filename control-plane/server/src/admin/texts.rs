//! The texts of one Apply: drafts with their places, every problem at once, and the place that a later refusal means.

use std::collections::BTreeMap;

use weft_errors::{Coded, Error, INTERNAL, OBJECT_INVALID, TOO_LARGE};
use weft_model::Key;
use weft_proto::v1;
use weft_yaml::{Drafted, FieldPlaces, Options, Parsed, Place};

use crate::limits::APPLY_BYTES;

/// The texts of all files together, each with its own problems.
pub(super) fn read(wire: &v1::ApplyRequest) -> Result<Parsed, Error> {
    let files: Vec<(&str, &str)> = std::iter::once((wire.text.as_str(), wire.file.as_str()))
        .chain(wire.more.iter().map(|more| (more.text.as_str(), more.file.as_str())))
        .map(|(text, file)| (text, if file.is_empty() { "-" } else { file }))
        .collect();
    let bytes: usize = files.iter().map(|(text, _)| text.len()).sum();
    if bytes > APPLY_BYTES {
        return Err(Error::new(
            &TOO_LARGE,
            format!("the files have {bytes} bytes together; at most {APPLY_BYTES} are taken in one change"),
        )
        .try_this("apply them in several steps", "weft apply -f FILE"));
    }
    let namespace = if wire.namespace.is_empty() { "default" } else { &wire.namespace };
    let options = Options { namespace, skip_unknown: wire.skip_unknown };
    let (mut all, mut problems) = (Parsed::default(), Vec::new());
    for (text, file) in &files {
        match weft_yaml::parse(text, file, &options) {
            Ok(parsed) => {
                all.objects.extend(parsed.objects);
                all.warnings.extend(parsed.warnings);
            }
            Err(more) => problems.extend(more),
        }
    }
    if !problems.is_empty() {
        return Err(first_of(&problems));
    }
    if all.objects.is_empty() {
        let names: Vec<&str> = files.iter().map(|(_, file)| *file).collect();
        let names = names.join(", ");
        let error = Error::new(&OBJECT_INVALID, format!("{names}: no object")).object("file", "", names);
        return Err(all.warnings.into_iter().fold(error, Error::because));
    }
    once_each(&all.objects)?;
    Ok(all)
}

/// Refuses an object that is given twice: which one should hold?
fn once_each(drafts: &[Drafted]) -> Result<(), Error> {
    let mut seen: BTreeMap<Key, String> = BTreeMap::new();
    for draft in drafts {
        let Spot { kind, namespace, name, place, .. } = Spot::of(draft);
        let place = place.to_string();
        if let Some(first) = seen.insert(draft.draft.key(), place.clone()) {
            return Err(Error::new(&OBJECT_INVALID, format!("{} is given twice", draft.draft.key()))
                .object(&kind, &namespace, name)
                .field(place)
                .because(format!("it stands at {first} already"))
                .try_this("keep one of the two", ""));
        }
    }
    Ok(())
}

/// The first problem, with the others as its causes: one refusal tells them all.
fn first_of(problems: &[weft_yaml::Error]) -> Error {
    let Some((first, others)) = problems.split_first() else {
        return Error::new(&INTERNAL, "a text was refused without a reason");
    };
    others.iter().fold(first.envelope(), |error, other| error.because(format!("also: {other}")))
}

/// An object of a text and where it stands.
pub(super) struct Spot {
    kind: String,
    namespace: String,
    name: String,
    place: Place,
    fields: FieldPlaces,
}

impl Spot {
    /// Of an object of a text.
    pub(super) fn of(drafted: &Drafted) -> Self {
        let key = drafted.draft.key();
        let (namespace, name) = names_of(&key);
        let (place, fields) = (drafted.place.clone(), drafted.fields.clone());
        Self { kind: key.kind().to_string(), namespace, name, place, fields }
    }
}

/// Namespace and name that people use for a key; the namespace is empty for kinds without one.
pub(super) fn names_of(key: &Key) -> (String, String) {
    let plain = |name: &dyn std::fmt::Display| (String::new(), name.to_string());
    match key {
        Key::Fabric => plain(&"main"),
        Key::Node(name) => plain(name),
        Key::Pod(uid) => plain(uid),
        Key::Lease(block) => plain(block),
        Key::Member(id) => plain(id),
        Key::Namespace(name) => plain(name),
        Key::Pool(name) => plain(name),
        Key::Owner(address) => plain(address),
        Key::Service(name) | Key::Slice(name) | Key::PodSpec(name) | Key::NetworkPolicy(name) => {
            (name.namespace.to_string(), name.name.to_string())
        }
    }
}

/// A refusal that only the state could give names object and field; where the object stands in the texts is added.
pub(super) fn placed(mut error: Error, spots: &[Spot]) -> Error {
    let meant = error.object.as_ref();
    // Some refusals name an object by its whole name.
    let is_meant = |spot: &&Spot| {
        let whole = format!("{}/{}", spot.namespace, spot.name);
        meant.is_some_and(|object| {
            object.kind == spot.kind
                && (object.name == whole
                    || (object.name == spot.name
                        && (object.namespace.is_empty() || object.namespace == spot.namespace)))
        })
    };
    let spot = match spots {
        [only] => Some(only),
        several => several.iter().find(is_meant),
    };
    let Some(spot) = spot else { return error };
    if error.field.is_empty() {
        error.field = spot.place.to_string();
    } else {
        let place = spot.fields.find(&spot.place, &error.field).to_string();
        if !error.field.contains(&place) {
            error.field += &format!(" ({place})");
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_twice_is_refused() {
        let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n";
        let request = |text: String| v1::ApplyRequest {
            text,
            file: "f".to_owned(),
            namespace: "shop".to_owned(),
            ..Default::default()
        };
        assert_eq!(read(&request(service.to_owned())).unwrap().objects.len(), 1);
        let error = read(&request(format!("{service}---\n{service}"))).unwrap_err();
        assert_eq!(error.message, "service/shop/web is given twice");
        let object = error.object.unwrap();
        assert_eq!((object.namespace.as_str(), object.name.as_str()), ("shop", "web"));
    }

    #[test]
    fn a_refusal_of_one_of_several_tells_its_place() {
        let service = |namespace: &str| {
            format!(
                "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  namespace: {namespace}\nspec:\n  ports:\n  - {{port: 80, \
                 nodePort: 30080}}\n  - port: 81\n    name: b\n"
            )
        };
        let text = format!("{}---\n{}", service("a"), service("b"));
        let parsed = weft_yaml::parse(&text, "f", &Options::default()).unwrap();
        let spots: Vec<Spot> = parsed.objects.iter().map(Spot::of).collect();
        let error = |namespace: &str, name: &str, field: &str| {
            let error = Error::new(&OBJECT_INVALID, "no").object("service", namespace, name);
            placed(error.field(field), &spots).field
        };
        assert_eq!(error("b", "web", "spec.ports[0].nodePort"), "spec.ports[0].nodePort (f:19:26)");
        assert_eq!(error("", "b/web", "spec.ports[1].name"), "spec.ports[1].name (f:21:11)");
        assert_eq!(error("a", "web", "metadata.namespace"), "metadata.namespace (f:5:14)");
        // What isn't there would stand in what is.
        assert_eq!(error("a", "web", "spec.ports[0].name"), "spec.ports[0].name (f:8:5)");
        assert_eq!(
            error("a", "web", "metadata.annotations[weft.io/x]"),
            "metadata.annotations[weft.io/x] (f:4:3)"
        );
        assert_eq!(error("a", "web", ""), "f:1:1");
        assert_eq!(error("c", "web", "spec.type"), "spec.type");
    }
}
