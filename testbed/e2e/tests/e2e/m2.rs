//! M2: processes of one pod share one network namespace.

use weft_e2e::each_family;
use weft_lab::Result;
use weft_lab::checks::paths;

#[test]
fn two_processes_of_one_pod_talk_over_localhost() -> Result {
    each_family("small", |fabric, cast| paths::localhost(fabric, cast).map(drop))
}
