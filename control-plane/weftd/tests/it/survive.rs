//! A cluster of three processes, of which some die.

use std::time::{Duration, Instant};

use weft_proto::v1;

use crate::machine::Machines;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_made_by_init_and_join_survives_kills_and_stops_in_order() {
    let mut machines = Machines::new();
    let init = machines.init();
    assert_eq!(init["listen"], machines.address(1).to_string());
    assert_eq!(init["ranges"]["pods"].as_array().map(Vec::len), Some(2));
    machines.run(1);
    for id in [2, 3] {
        let joined = machines.join(id).await;
        assert_eq!((&joined["id"], &joined["cluster"]), (&u64::from(id).into(), &init["cluster"]));
        machines.run(id);
    }
    let leader = machines.voters(&[1, 2, 3], 3).await;
    let rest: Vec<u8> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();

    let mut written = vec![machines.token(&rest[..1], v1::Role::Node).await.id];
    machines.kill(leader);
    let start = Instant::now();
    written.push(machines.token(&rest, v1::Role::Node).await.id);
    // The promise is 2 s on a quiet machine; this one may compile something at the same time.
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());

    // All die at once: what was acknowledged is there.
    rest.iter().for_each(|id| machines.kill(*id));
    for id in [1, 2, 3] {
        machines.run(id);
    }
    let all = machines.tokens(&[leader]).await;
    assert!(written.iter().all(|id| all.contains(id)), "{written:?} in {all:?}");

    for id in [1, 2, 3] {
        let start = Instant::now();
        assert_eq!(machines.terminate(id).await, Some(0));
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}
