//! Names beside a hostile pod, and behind a lying upstream. What a hostile pod costs others is measured by `cargo lab bench names`.

use std::time::Duration;

use weft_e2e::in_family;
use weft_lab::Result;
use weft_lab::checks::names::{attacked, lied_to};
use weft_lab::topology::Family;

/// Of each attack.
const SPAN: Duration = Duration::from_millis(500);

#[test]
fn a_hostile_pod_takes_no_answer_from_another_one() -> Result {
    for family in [Family::Dual, Family::V6] {
        in_family("small", family, |fabric, cast| {
            eprintln!("{}: {}", family.word(), attacked(fabric, cast, SPAN)?);
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn nothing_that_an_upstream_lies_is_answered_or_kept() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        eprintln!("{}", lied_to(fabric, cast)?);
        Ok(())
    })
}
