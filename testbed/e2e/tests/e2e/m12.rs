//! M12: no port coordination.

use weft_e2e::each_family;
use weft_lab::Result;
use weft_lab::checks::paths;

#[test]
fn two_pods_of_a_node_serve_the_same_port() -> Result {
    each_family("small", |fabric, cast| paths::same_port(fabric, cast).map(drop))
}
