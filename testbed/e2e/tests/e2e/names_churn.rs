//! Names while services, endpoints and pods come and go: every answer is held against what was true. The long form is `cargo lab soak`.

use weft_e2e::in_family;
use weft_lab::Result;
use weft_lab::checks::names::{ChurnLoad, Names, late_is_noticed};
use weft_lab::topology::Family;

#[test]
fn no_answer_tells_what_was_withdrawn_or_leaves_out_what_is_there_while_everything_changes() -> Result {
    for family in [Family::Dual, Family::V6] {
        in_family("small", family, |fabric, cast| {
            let names = Names::set(fabric, cast)?;
            let said = names.under_change(&ChurnLoad::SHORT)?;
            eprintln!("{}: {said}", family.word());
            names.strike()
        })?;
    }
    Ok(())
}

#[test]
fn answers_that_are_late_are_noticed() -> Result {
    in_family("small", Family::V4, |fabric, cast| {
        eprintln!("{}", late_is_noticed(fabric, cast)?);
        Ok(())
    })
}
