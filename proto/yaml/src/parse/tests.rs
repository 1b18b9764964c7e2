//! Tables for the reader: what is accepted, and the exact place and words of each refusal.

use weft_errors::Coded;

use super::*;
use crate::Seen;

const FABRIC: &str = "\
apiVersion: weft.io/v1
kind: Fabric
metadata:
  name: main
  resourceVersion: '12'
spec:
  families: dual
  ranges:
    pods: [10.0.0.0/16, 'fd00::/48']
status: {anything: goes}
";

fn read(text: &str, file: &str) -> Result<Parsed, Vec<Error>> {
    parse(text, file, &Options::default())
}

/// The one refusal of a text: its code and its words.
fn check(text: &str, code: &str, words: &str) {
    let errors = read(text, "f.yaml").expect_err(text);
    let first = errors.first().map(|e| format!("{} {e}", e.code())).unwrap_or_default();
    assert!(
        first.starts_with(code) && first.contains(words),
        "{text}\n gave {first}\n wanted {code} {words}"
    );
}

#[test]
fn what_the_writer_saw_is_kept_and_nothing_says_nothing() {
    let seen = |meta: &str| {
        let text = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: shop{meta}}}}}");
        read(&text, "f.yaml").unwrap().objects.remove(0).seen
    };
    assert_eq!(seen(""), Seen::default());
    assert_eq!(seen(", resourceVersion: ''"), Seen::default(), "as Kubernetes");
    let both = Seen { version: Some("12".to_owned()), uid: Some("ab".to_owned()) };
    assert_eq!(seen(", resourceVersion: '12', uid: ab"), both);
}

#[test]
fn a_fabric_is_read_and_absent_stays_absent() {
    let parsed = read(FABRIC, "f.yaml").unwrap();
    let [Drafted { draft: Draft::Fabric(fabric), .. }] = parsed.objects.as_slice() else {
        panic!("{parsed:?}")
    };
    assert_eq!(fabric.pods.as_ref().map(Vec::len), Some(2));
    assert_eq!(fabric.services, None);
    assert_eq!(fabric.families.map(|f| f.to_string()).as_deref(), Some("dual"));
}

#[test]
fn several_documents_lists_and_json_are_read() {
    let two = format!(
        "{FABRIC}---\napiVersion: weft.io/v1\nkind: Node\nmetadata: {{name: n1, labels: {{rack: a}}}}\n"
    );
    assert_eq!(read(&two, "f").unwrap().objects.len(), 2);
    let json = r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"weft.io/v1","kind":"Node","metadata":{"name":"n1"}}]}"#;
    assert_eq!(read(json, "f").unwrap().objects.len(), 1);
}

#[test]
fn refusals_name_place_path_and_remedy() {
    check("a: [", "W3004", "f.yaml:");
    check(
        "apiVersion: weft.io/v1\nkind: Fabric\nkind: Fabric\n",
        "W3004",
        "f.yaml:3:1: duplicate mapping key: kind",
    );
    check(
        &FABRIC.replace("families", "familys"),
        "W3002",
        "f.yaml:7:3: spec.familys isn't a field of Fabric; did you mean \"families\"?",
    );
    check(&FABRIC.replace("kind: Fabric", "kind: Fabrik"), "W3003", "did you mean \"Fabric\"?");
    check(&FABRIC.replace("kind: Fabric", "kind: Pod"), "W3104", "Pod");
    check(
        &FABRIC.replace("10.0.0.0/16", "10.0.0.1/16"),
        "W2201",
        "spec.ranges.pods[0]: 10.0.0.1/16 has host bits set; the range that holds it is 10.0.0.0/16",
    );
    check(&FABRIC.replace("name: main", "name: other"), "W3001", "its name is main");
    check(
        &FABRIC.replace("families: dual", "nodePortRange: 32767-30000"),
        "W3001",
        "spec.nodePortRange: \"32767-30000\" is not a range such as 30000-32767",
    );
    check(
        "apiVersion: weft.io/v1\nkind: Node\nmetadata: {name: n1, labels: {rack: 1}}\n",
        "W3001",
        "write it with quotes: \"1\"",
    );
    check("apiVersion: weft.io/v1\nkind: Node\n", "W3001", "metadata.name: must be given");
    check("just text", "W3001", "must be a map");
    check(&format!("{}a{}", "[".repeat(200), "]".repeat(200)), "W3004", "f.yaml:");
    let nested: String = (0..200).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    check(&nested, "W3004", ": values are nested more than 24 deep");
    check(&"- {}\n".repeat(250_001), "W3004", ": there are too many values: at most 250000 are read");
    check(&"--- {}\n".repeat(1_001), "W3004", ": there are more than 1000 documents");
    let laughs: String =
        (1..9).map(|n| format!("a{n}: &a{n} [{}]\n", format!("*a{},", n - 1).repeat(9))).collect();
    check(
        &format!("a0: &a0 [x]\n{laughs}"),
        "W3004",
        ": anchors and aliases (& and *) make too much of the text",
    );
    check(&"x".repeat(MOST_BYTES + 1), "W3201", "at most 1572864");
}

/// What a person is told: words, place, remedy.
fn envelope(text: &str) -> (String, String, String) {
    let errors = read(text, "f.yaml").expect_err(text);
    let error = errors.first().expect("one at least").envelope();
    (error.message, error.field, error.remedy.first().map(|r| r.text.clone()).unwrap_or_default())
}

#[test]
fn an_envelope_says_the_place_once_and_how_to_mend_it() {
    let case = |from: &str, to: &str| envelope(&FABRIC.replace(from, to));
    let (message, field, remedy) = case("families", "familys");
    assert_eq!(message, "spec.familys isn't a field of Fabric; did you mean \"families\"?");
    assert_eq!((field.as_str(), remedy.as_str()), ("spec.familys (f.yaml:7:3)", "write families"));
    let (_, field, remedy) = case("families: dual", "mtuPolicy: probe");
    assert_eq!(field, "spec.mtuPolicy (f.yaml:7:3)");
    assert_eq!(
        remedy,
        "remove it; known there are families, overlay, dns, domain, blockPrefixV4, masqueradeExceptions, nodePortAddresses, externalIPRanges, nodeGraceSeconds, policy, nodePortRange, ranges"
    );
    let (message, field, remedy) = case("10.0.0.0/16", "10.0.0.1/16");
    assert_eq!(
        message,
        "spec.ranges.pods[0]: 10.0.0.1/16 has host bits set; the range that holds it is 10.0.0.0/16"
    );
    assert_eq!((field.as_str(), remedy.as_str()), ("spec.ranges.pods[0] (f.yaml:9:12)", "write 10.0.0.0/16"));
}

#[test]
fn all_problems_of_a_text_are_shown_at_once() {
    let text = FABRIC.replace("families", "familys").replace("pods", "podz");
    assert_eq!(read(&text, "f").expect_err("two problems").len(), 2);
}

#[test]
fn words_that_look_like_booleans_stay_text() {
    let parsed =
        read("apiVersion: weft.io/v1\nkind: Node\nmetadata: {name: n1, labels: {a: yes, b: on}}\n", "f")
            .unwrap();
    let [Drafted { draft: Draft::Node(node), .. }] = parsed.objects.as_slice() else { panic!("{parsed:?}") };
    assert_eq!(node.labels.get("a").map(String::as_str), Some("yes"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(200))]
    #[test]
    fn any_text_is_read_or_refused(text in "[ -~\\n]{0,200}") {
        let _ = read(&text, "f");
    }
}
