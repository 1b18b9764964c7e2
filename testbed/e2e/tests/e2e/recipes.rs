//! What docs/policy.md recommends is tried as it stands there, and a policy's way from before it is applied until it is rolled back.

use weft_e2e::in_family;
use weft_lab::Result;
use weft_lab::checks::recipes::{self, Scene};
use weft_lab::checks::rollout;
use weft_lab::topology::Family;

#[test]
fn recipes_do_what_the_page_says_and_are_told_before_while_and_after_they_are_in_force() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        let scene = Scene::set(fabric, cast)?;
        let checks = [recipes::tried, rollout::told_before, rollout::explained, rollout::drops_told];
        let seen = checks.into_iter().try_for_each(|check| check(&scene).map(drop));
        scene.strike()?;
        seen
    })
}
