//! Expectations of policies, as they stand in files beside them: a list of `{from, to, port, expect}`.

use crate::{
    Error, Place,
    read::Reader,
    tree::{Placed, Tree},
};

/// One expectation as written: who is meant is read by whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyCase {
    /// Where it begins.
    pub place: Place,
    /// Who begins: `pod/shop/web-0`, `namespace/shop`, `node/n1`, an address.
    pub from: String,
    /// Whom it is for.
    pub to: String,
    /// `5432/tcp`, `53/udp`, `icmp`.
    pub port: String,
    /// Whether it shall be allowed.
    pub allowed: bool,
}

/// Reads expectations; `file` is its name for messages.
///
/// # Errors
/// Every problem of the text, in order.
pub fn cases(text: &str, file: &str) -> Result<Vec<PolicyCase>, Vec<Error>> {
    let documents = super::documents(text, file)?;
    let mut reader = Reader::new(file);
    reader.kind("a case");
    let mut all = Vec::new();
    for document in documents.into_iter().filter(|document| document.value != Tree::Null) {
        all.extend(reader.each(Some(document), "cases", case).unwrap_or_default());
    }
    let problems = reader.finish();
    if problems.is_empty() { Ok(all) } else { Err(problems) }
}

fn case(reader: &mut Reader<'_>, value: Placed, path: &str) -> Option<PolicyCase> {
    let at = value.referenced;
    let place = reader.place(at);
    let mut fields = reader.fields(value, path)?;
    let mut needed = |reader: &mut Reader<'_>, key: &'static str| {
        let path = format!("{path}.{key}");
        match fields.take(key) {
            Some(Placed { value: Tree::Integer(number), .. }) => Some(number.to_string()),
            Some(value) => reader.text(value, &path),
            None => {
                reader.invalid(at, &path, "must be given");
                None
            }
        }
    };
    let (from, to, port) = (needed(reader, "from"), needed(reader, "to"), needed(reader, "port"));
    let allowed = needed(reader, "expect").and_then(|word| match word.as_str() {
        "allow" => Some(true),
        "deny" => Some(false),
        other => {
            reader.invalid(at, &format!("{path}.expect"), format!("unknown word {other:?}: use allow, deny"));
            None
        }
    });
    reader.done(fields);
    Some(PolicyCase { place, from: from?, to: to?, port: port?, allowed: allowed? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_read_and_bad_ones_refused_with_their_places() {
        let text = "- {from: pod/shop/web-0, to: pod/shop/db-0, port: 5432, expect: deny}\n\
                    - {from: 192.0.2.1, to: namespace/shop, port: 53/udp, expect: allow}\n";
        let read = cases(text, "f").unwrap();
        assert_eq!((read.len(), read[0].port.as_str(), read[0].allowed), (2, "5432", false));
        assert_eq!((read[1].place.line, read[1].to.as_str(), read[1].allowed), (2, "namespace/shop", true));
        let check = |text: &str, words: &str| {
            let errors = cases(text, "f").expect_err(text);
            let first = errors.first().map(ToString::to_string).unwrap_or_default();
            assert!(first.starts_with(words), "{text}\n gave {first}\n wanted {words}");
        };
        check(
            "- {from: a, to: b, port: 1, expct: deny, expect: deny}",
            "f:1:29: cases[0].expct isn't a field of a case",
        );
        check("- {from: a, to: b, port: 1}", "f:1:3: cases[0].expect: must be given");
        check("- {from: a, to: b, port: 1, expect: Deny}", "f:1:3: cases[0].expect: unknown word \"Deny\"");
        check("from: a", "f:1:1: cases: must be a list, is a map");
        check("- [", "f:");
        assert_eq!(cases("", "f"), Ok(Vec::new()));
    }
}
