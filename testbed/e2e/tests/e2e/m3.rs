//! M3: pods of one node talk through its bridge.

use weft_e2e::each_family;
use weft_lab::Result;
use weft_lab::checks::paths;

#[test]
fn packets_between_pods_of_a_node_pass_the_bridge_and_never_lo() -> Result {
    each_family("small", |fabric, cast| paths::through_the_bridge(fabric, cast).map(drop))
}

#[test]
fn no_pod_receives_a_redirect() -> Result {
    each_family("small", |fabric, cast| {
        paths::every_pair(fabric, cast)?;
        paths::no_redirects(fabric, cast).map(drop)
    })
}
