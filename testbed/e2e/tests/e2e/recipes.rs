//! What docs/policy.md recommends is tried as it stands there.

use weft_e2e::in_family;
use weft_lab::Result;
use weft_lab::checks::recipes::{self, Scene};
use weft_lab::topology::Family;

#[test]
fn every_recipe_of_the_page_does_what_the_page_says() -> Result {
    in_family("small", Family::Dual, |fabric, cast| {
        let scene = Scene::set(fabric, cast)?;
        let seen = recipes::tried(&scene).map(drop);
        scene.strike()?;
        seen
    })
}
