//! Certificates, roles, pins, failover, rotation, stops.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use weft_errors::{BUSY, Error};
use weft_model::{AuthorityHash, ReplicaId};
use weft_process::wait;
use weft_proto::v1;
use weft_rpc::{Channel, ChannelOptions, Limits, Status, Trust, authority_hash, status_of, with_deadline};

use crate::world::{LIMIT, Server, World, admin, channel, node, node_call, replica, root_of, who_am_i};

#[tokio::test]
async fn both_ends_prove_who_they_are() {
    let world = World::new();
    let server = world.serve(1, Limits::default()).await;
    let channel = world.channel(&[&server], Some(world.identity(&node("n1"))));
    node_call(&channel).await.unwrap();
    assert_eq!(who_am_i(&channel).await.unwrap(), node("n1").to_string());
    let connected = channel.connected().unwrap();
    assert_eq!((connected.holder, connected.endpoint), (replica(1), server.address.to_string()));
}

#[tokio::test]
async fn without_a_certificate_only_join_answers() {
    let world = World::new();
    let server = world.serve(1, Limits::default()).await;
    let channel = world.channel(&[&server], None);
    assert_eq!(who_am_i(&channel).await.unwrap(), "the call needs a client certificate");
    assert_eq!(node_call(&channel).await.unwrap_err().code, "W7001");
}

#[tokio::test]
async fn a_certificate_that_does_not_count_is_refused_with_the_reason() {
    let world = World::new();
    let server = world.serve(1, Limits::default()).await;
    let other = World::new();
    let expired = weft_rpc::SharedIdentity::new(world.identity_of(&node("n1"), 8));
    let old_but_good = weft_rpc::SharedIdentity::new(world.identity_of(&node("n1"), 6));
    for (identity, reason) in [
        (expired, Some("expired")),
        (other.identity(&node("n1")), Some("another authority")),
        (old_but_good, None),
    ] {
        let result = node_call(&world.channel(&[&server], Some(identity))).await;
        match reason {
            None => result.unwrap(),
            Some(reason) => {
                let error = result.unwrap_err();
                assert_eq!(error.code, "W7001");
                assert!(error.cause.iter().any(|cause| cause.contains(reason)), "{error}");
            }
        }
    }
}

#[test]
fn an_identity_that_does_not_hold_together_says_what_is_wrong() {
    let (world, other) = (World::new(), World::new());
    let good = world.identity_of(&node("n1"), 0);
    let check = |authority: Vec<weft_rpc::CertificateDer<'static>>, words: Option<&str>| {
        let made = weft_rpc::Identity::new(good.certificate().clone(), authority, good.key().clone());
        match words {
            None => drop(made.unwrap()),
            Some(words) => {
                let said = made.unwrap_err().to_string();
                assert!(said.contains(words), "{said}");
            }
        }
    };
    check(good.authority().to_vec(), None);
    check(Vec::new(), Some("the authority's certificate is missing"));
    check(vec![good.certificate().clone()], Some("isn't an authority's"));
    check(vec![other.authority.certificate().clone()], Some("another authority"));
}

#[tokio::test]
async fn a_role_that_may_not_is_told_which_role_may() {
    let world = World::new();
    let server = world.serve(1, Limits::default()).await;
    let error =
        node_call(&world.channel(&[&server], Some(world.identity(&admin("alice"))))).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.cause[0].as_str()), ("W7002", "it needs role node"));
}

#[tokio::test]
async fn a_false_server_gets_nothing() {
    let world = World::new();
    let other = World::new();
    let false_authority = other.serve(1, Limits::default()).await;
    let false_role = Server::start(world.identity(&node("n1")), Limits::default()).await;
    let expired = weft_rpc::SharedIdentity::new(world.identity_of(&replica(1), 8));
    let false_time = Server::start(expired, Limits::default()).await;
    for server in [&false_authority, &false_role, &false_time] {
        let error = who_am_i(&world.channel(&[server], Some(world.identity(&node("n1"))))).await.unwrap_err();
        assert_eq!(error.code, "W7004", "{error}");
        assert_eq!(server.joins.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a_pinned_hash_is_checked_before_the_token_leaves() {
    let world = World::new();
    let server = world.serve(1, Limits::default()).await;
    let right = channel(&[&server], Trust::Pinned(world.authority.hash()), None);
    assert!(who_am_i(&right).await.is_ok());
    assert_eq!(server.joins.load(Ordering::SeqCst), 1);

    let wrong = channel(&[&server], Trust::Pinned(AuthorityHash([1; 32])), None);
    let error = who_am_i(&wrong).await.unwrap_err();
    assert_eq!(error.code, "W7004");
    let shown = authority_hash(&root_of(&server.identity)).to_string();
    assert!(error.cause[0].contains(&shown), "{error}");
    assert_eq!(server.joins.load(Ordering::SeqCst), 1, "the token left in spite of the wrong hash");
}

#[tokio::test]
async fn a_false_server_that_shows_the_right_authority_is_refused() {
    // The attacker knows the authority's certificate (it is public) but has no key that it signed.
    let world = World::new();
    let attacker = World::new();
    let own = attacker.authority.new_identity(&replica(1), crate::world::now()).unwrap();
    let mut roots = own.authority().to_vec();
    roots.push(world.authority.certificate().clone());
    let identity = weft_rpc::Identity::new(own.certificate().clone(), roots, own.key().clone()).unwrap();
    let server = Server::start(weft_rpc::SharedIdentity::new(identity), Limits::default()).await;
    let pinned = channel(&[&server], Trust::Pinned(world.authority.hash()), None);
    assert_eq!(who_am_i(&pinned).await.unwrap_err().code, "W7004");
    assert_eq!(server.joins.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn replicas_reach_the_replica_they_mean() {
    let world = World::new();
    let server = world.serve(2, Limits::default()).await;
    for (id, good) in [(2, true), (3, false)] {
        let channel = Channel::new(ChannelOptions {
            endpoints: vec![server.address.to_string()],
            trust: world.trust(),
            identity: Some(world.identity(&replica(1))),
            replica: Some(ReplicaId(id)),
        })
        .unwrap();
        assert_eq!(who_am_i(&channel).await.is_ok(), good, "{id}");
    }
}

#[tokio::test]
async fn a_channel_moves_to_another_replica_and_stays() {
    let world = World::new();
    let first = world.serve(1, Limits::default()).await;
    let second = world.serve(2, Limits::default()).await;
    let channel = world.channel(&[&first, &second], Some(world.identity(&node("n1"))));
    node_call(&channel).await.unwrap();
    assert_eq!(channel.connected().unwrap().holder, replica(1));
    drop(first);
    channel
        .retry(LIMIT, || async { channel.sync().report(v1::ReportRequest::default()).await })
        .await
        .unwrap();
    assert_eq!(channel.connected().unwrap().holder, replica(2));
    for _ in 0..3 {
        node_call(&channel).await.unwrap();
    }
    assert_eq!(channel.connected().unwrap().holder, replica(2));
}

#[tokio::test]
async fn a_useless_replica_is_left_on_demand() {
    let world = World::new();
    let first = world.serve(1, Limits::default()).await;
    let second = world.serve(2, Limits::default()).await;
    let channel = world.channel(&[&first, &second], Some(world.identity(&node("n1"))));
    node_call(&channel).await.unwrap();
    channel.leave_replica();
    channel
        .retry(LIMIT, || async { channel.sync().report(v1::ReportRequest::default()).await })
        .await
        .unwrap();
    assert_eq!(channel.connected().unwrap().holder, replica(2));
}

#[tokio::test]
async fn a_silent_endpoint_does_not_hold_up_the_others() {
    let world = World::new();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = world.serve(1, Limits::default()).await;
    let channel = Channel::new(ChannelOptions {
        endpoints: vec![silent.local_addr().unwrap().to_string(), server.address.to_string()],
        trust: world.trust(),
        identity: Some(world.identity(&node("n1"))),
        replica: None,
    })
    .unwrap();
    let begin = Instant::now();
    node_call(&channel).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn nobody_there_names_every_endpoint_that_was_tried() {
    let world = World::new();
    let (one, two) = (world.serve(1, Limits::default()).await, world.serve(2, Limits::default()).await);
    let endpoints = [one.address.to_string(), two.address.to_string()];
    let channel = world.channel(&[&one, &two], None);
    drop((one, two));
    // The listeners close in the background.
    let error = wait::until(LIMIT, "both are gone", async || who_am_i(&channel).await.err()).await.unwrap();
    assert_eq!(error.code, "W1001");
    for endpoint in endpoints {
        assert!(error.cause.iter().any(|cause| cause.starts_with(&endpoint)), "{error}");
    }
    let error = channel
        .retry(Duration::from_millis(300), || async { channel.join().join(v1::JoinRequest::default()).await })
        .await
        .unwrap_err();
    assert!(["W1001", "W1004"].contains(&error.code.as_str()), "{error}");
}

#[tokio::test]
async fn new_connections_use_the_renewed_certificate() {
    let world = World::new();
    let server = world.serve(1, Limits::default()).await;
    let identity = weft_rpc::SharedIdentity::new(world.identity_of(&node("n1"), 8));
    let channel = world.channel(&[&server], Some(identity.clone()));
    assert_eq!(node_call(&channel).await.unwrap_err().code, "W7001");
    let renewed = world.authority.renew(&identity.current().renewal().unwrap(), crate::world::now()).unwrap();
    identity.replace(identity.current().with_certificate(renewed.certificate).unwrap());
    channel.leave_replica();
    let again = || async { channel.sync().report(v1::ReportRequest::default()).await };
    channel.retry(LIMIT, again).await.unwrap();

    // The same for the server: a client that connects later sees the new one.
    let before = server.identity.current().expires();
    let fresh = world
        .authority
        .new_identity(&replica(1), weft_model::WallTime(crate::world::now().0 + 5000))
        .unwrap();
    assert_ne!(fresh.expires(), before);
    server.identity.replace(fresh);
    node_call(&world.channel(&[&server], Some(world.identity(&node("n2"))))).await.unwrap();
}

#[tokio::test]
async fn frames_encoded_once_arrive_as_messages() {
    let world = World::new();
    let server = world.serve(1, Limits::default()).await;
    let channel = world.channel(&[&server], Some(world.identity(&node("n1"))));
    let request = v1::WatchRequest { resume_revision: 40, ..Default::default() };
    let mut frames = channel.sync().watch(request).await.unwrap().into_inner();
    for revision in 40..43 {
        let frame = frames.message().await.unwrap().unwrap().frame.unwrap();
        assert_eq!(frame, v1::watch_response::Frame::InSync(v1::InSync { revision }));
    }
    let refused = world.channel(&[&server], None).sync().watch(v1::WatchRequest::default()).await;
    assert_eq!(weft_rpc::error_of(&refused.unwrap_err()).code, "W7001");
    // The other methods of the service go through the generated code.
    let lease =
        channel.sync().lease_block(v1::LeaseBlockRequest::default()).await.unwrap().into_inner().lease;
    assert_eq!(lease.unwrap().node, node("n1").to_string());
}

#[tokio::test]
async fn health_and_reflection_answer_everybody() {
    use tonic_health::pb::{
        HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
    };
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let world = World::new();
    let server = world.serve(1, Limits::default()).await;
    let channel = world.channel(&[&server], None);
    let mut health = HealthClient::new(channel.transport());
    let mut status =
        async || health.check(HealthCheckRequest::default()).await.unwrap().into_inner().status();
    assert_eq!(status().await, ServingStatus::Serving);
    server.health.not_serving().await;
    assert_eq!(status().await, ServingStatus::NotServing);

    let list = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut answers = ServerReflectionClient::new(channel.transport())
        .server_reflection_info(tokio_stream::once(list))
        .await
        .unwrap()
        .into_inner();
    let Some(MessageResponse::ListServicesResponse(services)) =
        answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("a list of services")
    };
    let names: Vec<_> = services.service.into_iter().map(|service| service.name).collect();
    for name in ["weft.v1.Admin", "weft.v1.Join", "weft.v1.Sync", "weft.v1.Raft", "weft.v1.Local"] {
        assert!(names.iter().any(|have| have == name), "{name} in {names:?}");
    }
}

#[tokio::test]
async fn a_stop_ends_streams_and_the_server_within_its_grace() {
    let world = World::new();
    let limits = Limits { stop: Duration::from_millis(100), ..Limits::default() };
    let mut server = world.serve(1, limits).await;
    let channel = world.channel(&[&server], Some(world.identity(&node("n1"))));
    let mut frames = channel.sync().watch(v1::WatchRequest::default()).await.unwrap().into_inner();
    assert!(frames.message().await.unwrap().is_some());
    server.stop.cancel();
    tokio::time::timeout(LIMIT, &mut server.done).await.expect("stops in time").unwrap().unwrap();
    let ended = tokio::time::timeout(LIMIT, async { while let Ok(Some(_)) = frames.message().await {} });
    ended.await.expect("the endless stream ended with the server");
}

#[tokio::test]
async fn deadlines_hold_on_the_client() {
    let world = World::new();
    let server = world.serve(1, Limits::default()).await;
    let channel = world.channel(&[&server], Some(world.identity(&node("n1"))));
    node_call(&channel).await.unwrap();
    let short = Duration::from_millis(50);
    let stuck = || v1::PublishNodeRequest::default();
    let error = channel.call(short, async { channel.sync().publish_node(stuck()).await }).await.unwrap_err();
    assert_eq!(error.code, "W1004");
    assert!(error.cause[0].contains(&server.address.to_string()), "{error}");
    let told = with_deadline(stuck(), short);
    let error = channel.call(LIMIT, async { channel.sync().publish_node(told).await }).await.unwrap_err();
    assert_eq!(error.code, "W1004", "{error}");
}

#[tokio::test]
async fn passing_errors_are_tried_again_and_others_are_not() {
    let world = World::new();
    let server = world.serve(1, Limits::default()).await;
    let channel = world.channel(&[&server], None);
    let mut calls = 0;
    let answer = channel
        .retry(LIMIT, || {
            calls += 1;
            let result = if calls < 3 {
                Err(status_of(&Error::new(&BUSY, "x")))
            } else {
                Ok(weft_rpc::Response::new(calls))
            };
            async { result }
        })
        .await;
    assert_eq!(answer, Ok(3));
    let mut calls = 0;
    let refused: Result<(), _> = channel
        .retry(LIMIT, || {
            calls += 1;
            async { Err(Status::permission_denied("no")) }
        })
        .await;
    assert_eq!((refused.unwrap_err().code.as_str(), calls), ("W7002", 1));
}

#[test]
fn endpoints_are_checked_before_anything_is_tried() {
    let world = World::new();
    for (endpoints, good) in [
        (vec!["127.0.0.1:7443"], true),
        (vec!["[fd00::1]:7443", "cp-1.example:7443"], true),
        (vec![], false),
        (vec!["127.0.0.1"], false),
        (vec!["127.0.0.1:0"], false),
        (vec![":7443"], false),
        (vec!["127.0.0.1:7443", "127.0.0.1:x"], false),
    ] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let options = ChannelOptions {
            endpoints: endpoints.iter().map(ToString::to_string).collect(),
            trust: world.trust(),
            identity: None,
            replica: None,
        };
        assert_eq!(Channel::new(options).is_ok(), good, "{endpoints:?}");
    }
}
