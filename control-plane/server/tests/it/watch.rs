//! The stream of an agent: snapshot, in sync, deltas; resumed where it can be; cut when its node is removed.

use weft_model::Item;
use weft_proto::{convert::Frame, v1};
use weft_rpc::{Streaming, with_deadline};

use crate::world::{CALL, World, code, mutation};

async fn next(stream: &mut Streaming<v1::WatchResponse>) -> Frame {
    let frame = tokio::time::timeout(CALL, stream.message()).await.expect("a frame comes").unwrap();
    Frame::try_from(frame.expect("the stream goes on")).unwrap()
}

fn nodes(items: &[Item]) -> Vec<String> {
    let peers = items.iter().filter_map(|item| match item {
        Item::Peer(peer) => Some(peer.node.to_string()),
        Item::Fabric(_)
        | Item::Route(_)
        | Item::Service(_)
        | Item::Probe(_)
        | Item::Owner(_)
        | Item::Pod(_)
        | Item::Setup(_)
        | Item::Policy(_)
        | Item::Namespace(_)
        | Item::Identity(_) => None,
    });
    peers.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_gets_snapshot_then_deltas_and_resumes_and_a_removed_one_is_cut() {
    let world = World::new().await;
    let (n1, welcome) = world.join_node("n1").await;
    let mut stream = n1.sync().watch(v1::WatchRequest::default()).await.unwrap().into_inner();
    let Frame::Snapshot { items, first: true, last: true, revision } = next(&mut stream).await else {
        panic!("a snapshot comes first")
    };
    assert_eq!(nodes(&items), ["n1"]);
    assert!(matches!(next(&mut stream).await, Frame::InSync(at) if at == revision));

    let (n2, _) = world.join_node("n2").await;
    let mut seen = revision;
    let delta = loop {
        match next(&mut stream).await {
            Frame::Delta { upserts, revision, .. } => break (upserts, revision),
            // The token of n2 changed nothing that nodes need.
            Frame::InSync(at) => {
                assert!(at > seen);
                seen = at;
            }
            other @ (Frame::Snapshot { .. } | Frame::Ask(_)) => panic!("{other:?}"),
        }
    };
    assert!(delta.1 > seen && nodes(&delta.0) == ["n2"]);

    // Who comes back with its revision gets only what it lacks.
    let cluster = welcome.cluster.clone();
    let resume = v1::WatchRequest { resume_revision: revision.0, cluster, ..v1::WatchRequest::default() };
    let mut again = n1.sync().watch(resume).await.unwrap().into_inner();
    let mut got = Vec::new();
    loop {
        match next(&mut again).await {
            Frame::Delta { upserts, .. } => got.extend(nodes(&upserts)),
            Frame::InSync(at) if at >= delta.1 => break,
            Frame::InSync(_) => {}
            other @ (Frame::Snapshot { .. } | Frame::Ask(_)) => panic!("{other:?}"),
        }
    }
    assert_eq!(got, ["n2"]);

    let remove = v1::RemoveNodeRequest { mutation: mutation(1, 1), name: "n2".to_owned() };
    let mut stream2 = n2.sync().watch(v1::WatchRequest::default()).await.unwrap().into_inner();
    world.admin(&[1]).admin().remove_node(with_deadline(remove, CALL)).await.unwrap();
    let end = loop {
        if let Err(status) = tokio::time::timeout(CALL, stream2.message()).await.expect("it ends") {
            break status;
        }
    };
    assert_eq!(code(&end), "W7006");
    let refused = n2.sync().watch(v1::WatchRequest::default()).await.unwrap_err();
    assert_eq!(code(&refused), "W7006");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_to_a_node_finds_its_way_and_a_wait_ends_with_its_report() {
    let world = World::new().await;
    let (n1, _) = world.join_node("n1").await;
    let mut stream = n1.sync().watch(v1::WatchRequest::default()).await.unwrap().into_inner();
    let agent = tokio::spawn({
        let n1 = n1.clone();
        async move {
            while let Ok(Some(frame)) = stream.message().await {
                let frame = Frame::try_from(frame).unwrap();
                if let Frame::InSync(at) = &frame {
                    let status = v1::NodeStatus { applied_revision: at.0, ..v1::NodeStatus::default() };
                    let report = v1::ReportRequest { status: Some(status) };
                    n1.sync().report(with_deadline(report, CALL)).await.unwrap();
                }
                if let Frame::Ask(ask) = frame {
                    let what = v1::answer_request::What::Inspect(v1::NodeStatus {
                        pods: 3,
                        ..v1::NodeStatus::default()
                    });
                    let answer = v1::AnswerRequest { id: ask.id, error: None, what: Some(what) };
                    n1.sync().answer(with_deadline(answer, CALL)).await.unwrap();
                }
            }
        }
    });
    let mut admin = world.admin(&[1]).admin();
    let wait = v1::WaitRequest { revision: 0, timeout_ms: 5_000 };
    let waited = admin.wait(with_deadline(wait, CALL)).await.unwrap().into_inner();
    assert!(waited.done && waited.applied == ["n1"], "{waited:?}");
    let what = Some(v1::ask::What::Inspect(v1::Inspect::default()));
    let ask = v1::AskNodeRequest { node: "n1".to_owned(), ask: Some(v1::Ask { what, ..v1::Ask::default() }) };
    let answer = admin.ask_node(with_deadline(ask, CALL)).await.unwrap().into_inner().answer.unwrap();
    assert!(matches!(answer.what, Some(v1::answer_request::What::Inspect(status)) if status.pods == 3));
    agent.abort();
}
