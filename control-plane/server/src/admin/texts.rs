//! The texts of one Apply: drafts with their places, every problem at once, and the place that a later refusal means.

use std::collections::BTreeMap;

use weft_errors::{Coded, Error, INTERNAL, OBJECT_INVALID, TOO_LARGE};
use weft_model::Key;
use weft_proto::v1;
use weft_yaml::{Drafted, Options, Parsed};

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
        let Spot { kind, namespace, name, place } = Spot::of(draft);
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
    place: String,
}

impl Spot {
    /// Of an object of a text.
    pub(super) fn of(drafted: &Drafted) -> Self {
        let key = drafted.draft.key();
        let (namespace, name) = names_of(&key);
        Self { kind: key.kind().to_string(), namespace, name, place: drafted.place.to_string() }
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
    match spot.map(|spot| &spot.place) {
        Some(place) if error.field.is_empty() => place.clone_into(&mut error.field),
        Some(place) if !error.field.contains(place.as_str()) => error.field += &format!(" ({place})"),
        Some(_) | None => {}
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
        let spot = |namespace: &str, name: &str, place: &str| Spot {
            kind: "service".to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            place: place.to_owned(),
        };
        let spots = [spot("a", "web", "f:1:1"), spot("b", "web", "f:9:1")];
        let error = |namespace: &str, name: &str| {
            let error =
                Error::new(&OBJECT_INVALID, "no").object("service", namespace, name).field("spec.type");
            placed(error, &spots).field
        };
        assert_eq!(error("b", "web"), "spec.type (f:9:1)");
        assert_eq!(error("", "b/web"), "spec.type (f:9:1)");
        assert_eq!(error("c", "web"), "spec.type");
    }
}
