//! Three replicas: writes through any of them, leaders that die, restarts.

use std::time::Instant;

use weft_proto::v1;
use weft_rpc::with_deadline;

use crate::world::{CALL, World, code, mutation};

async fn create(world: &World, through: &[u64], client: u8, sequence: u64) -> v1::CreateTokenResponse {
    let channel = world.admin(through);
    let request = v1::CreateTokenRequest {
        mutation: mutation(client, sequence),
        role: v1::Role::Node.into(),
        ttl_s: 0,
    };
    let call = || {
        let (mut admin, request) = (channel.admin(), request.clone());
        async move { admin.create_token(with_deadline(request, CALL)).await }
    };
    channel.retry(CALL, call).await.unwrap()
}

async fn tokens(world: &World, through: &[u64]) -> Vec<String> {
    let mut admin = world.admin(through).admin();
    let list = admin.list_tokens(with_deadline(v1::ListTokensRequest {}, CALL)).await.unwrap().into_inner();
    list.tokens.into_iter().map(|token| token.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_through_any_replica_and_survive_leaders_and_restarts() {
    let mut world = World::new().await;
    world.join_replica(2).await;
    world.join_replica(3).await;

    // Who wrote through a follower reads its own write there and everywhere.
    let leader = world.leader(&[1, 2, 3]).await;
    let follower = if leader == 3 { 2 } else { 3 };
    let first = create(&world, &[follower], 1, 1).await;
    for id in [1, 2, 3] {
        assert!(tokens(&world, &[id]).await.contains(&first.id), "through {id}");
    }

    // The leader dies: the others go on.
    world.kill(leader);
    let rest: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    let start = Instant::now();
    let second = create(&world, &rest, 2, 1).await;
    let failover = start.elapsed();
    assert!(failover.as_secs() < 5, "{failover:?}");
    assert!(tokens(&world, &rest).await.contains(&first.id));

    // It comes back, and a leader that stops hands over at once.
    world.start(leader).await;
    let next = world.leader(&rest).await;
    world.stop(next).await;
    let rest: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != next).collect();
    let third = create(&world, &rest, 3, 1).await;

    // Everybody stops and starts: nothing is lost.
    for id in rest {
        world.stop(id).await;
    }
    for id in [1, 2, 3] {
        world.start(id).await;
    }
    world.leader(&[1, 2, 3]).await;
    let all = tokens(&world, &[2]).await;
    for token in [&first, &second, &third] {
        assert!(all.contains(&token.id), "{} in {all:?}", token.id);
    }
    for id in [1, 2, 3] {
        world.stop(id).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_written_and_the_silent_replicas_are_named() {
    let mut world = World::new().await;
    world.join_replica(2).await;
    world.kill(2);
    let request = v1::CreateTokenRequest { mutation: None, role: v1::Role::Node.into(), ttl_s: 0 };
    let mut admin = world.admin(&[1]).admin();
    let late = std::time::Duration::from_secs(2);
    let status = admin.create_token(with_deadline(request, late)).await.unwrap_err();
    assert!(["W1002", "W1004"].contains(&code(&status).as_str()), "{status:?}");
    // What one replica alone knows can still be read.
    let list = v1::ListRequest { kind: v1::Kind::Member.into(), stale: true, ..v1::ListRequest::default() };
    assert_eq!(admin.list(with_deadline(list, CALL)).await.unwrap().into_inner().objects.len(), 2);
    world.start(2).await;
    create(&world, &[1], 4, 1).await;
    world.stop(2).await;
    world.stop(1).await;
}
