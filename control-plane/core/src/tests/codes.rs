//! Every code this crate can answer with is produced by a test, and reads well.

use std::collections::BTreeSet;

use weft_errors::{self as codes, Code, Coded};
use weft_model::Refusal;

use crate::Error;

/// The sources of the tests: a code counts as produced when one of them expects it.
const TESTS: [&str; 10] = [
    include_str!("drafts.rs"),
    include_str!("balancers.rs"),
    include_str!("endpoints.rs"),
    include_str!("services.rs"),
    include_str!("transitions.rs"),
    include_str!("clients.rs"),
    include_str!("fabrics.rs"),
    include_str!("leases.rs"),
    include_str!("nodes.rs"),
    include_str!("pods.rs"),
];

#[test]
fn every_code_of_this_crate_is_expected_by_a_test() {
    let source = concat!(include_str!("../error/told.rs"), include_str!("../error/service.rs"));
    let used: BTreeSet<_> = source
        .split("&codes::")
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_ascii_uppercase() && c != '_').next().unwrap_or_default())
        .collect();
    assert!(used.len() > 28, "{used:?}");
    for code in used {
        let expected = format!("&codes::{code}");
        assert!(TESTS.iter().any(|test| test.contains(&expected)), "no test expects {code}");
    }
}

#[test]
fn a_stored_refusal_reads_like_the_error_it_was() {
    let error = Error::invalid("node", "n1", "metadata.uid", "its identity has been used before");
    let stored = Error::from(Refusal::from(&error));
    assert_eq!(stored.envelope(), error.envelope());
    assert_eq!(Refusal::from(&stored), Refusal::from(&error));
    let shown = stored.envelope().to_string();
    assert_eq!(
        shown,
        "error[W3001]: node n1 isn't valid: its identity has been used before; object node/n1; \
         at metadata.uid; try mend the named field"
    );
}

#[test]
fn a_code_of_a_newer_release_counts_as_internal() {
    let object = Default::default();
    let refusal =
        Refusal { code: 9999, message: "new".to_owned(), object, field: String::new(), cause: vec![] };
    let code: &Code = Error::from(refusal).code();
    assert_eq!(code, &codes::INTERNAL);
}
