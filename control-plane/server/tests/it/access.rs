//! Who may call what: every call of every service in the proto files, by every role.

use std::{collections::BTreeMap, time::Duration};

use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::{client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;
use weft_model::{Name, Part, ReplicaId, ReplicaName};
use weft_rpc::{Channel, Request, Status};

use crate::world::{World, code, unknown_node};

/// Roles, in the order of the columns.
const ROLES: [&str; 5] = ["none", "viewer", "admin", "node", "replica"];

/// Which roles may make a call with an empty request; `y` may.
fn allowed(service: &str, method: &str) -> Option<&'static str> {
    Some(match (service, method) {
        //                      none viewer admin node replica
        ("Join", "Join" | "Renew") => "yyyyy",
        (
            "Admin",
            "Get" | "List" | "WatchObjects" | "Status" | "Wait" | "ListTokens" | "WhoHas" | "Items"
            | "Events",
        ) => "-yy--",
        ("Admin", "Apply" | "Delete" | "CreateToken" | "RevokeToken" | "RemoveNode" | "AskNode") => "--y--",
        (
            "Sync",
            "Watch" | "Report" | "LeaseBlock" | "ReturnBlock" | "PublishPods" | "PublishNode" | "FindPod"
            | "Answer" | "Pulse",
        ) => "---y-",
        (
            "Raft",
            "Messages" | "Snapshot" | "Propose" | "ReadIndex" | "LocalStatus" | "RelayAsk" | "Pulses",
        ) => "----y",
        _ => return None,
    })
}

/// All calls of the services that a replica serves.
fn calls() -> Vec<(String, String)> {
    let files = FileDescriptorSet::decode(weft_proto::DESCRIPTORS).unwrap();
    let services = files.file.into_iter().flat_map(|file| file.service);
    let served = services.filter(|service| service.name() != "Local");
    let calls = served.flat_map(|service| {
        let name = service.name().to_owned();
        service.method.into_iter().map(move |method| (name.clone(), method.name().to_owned()))
    });
    calls.collect()
}

/// Makes a call with an empty request; any kind of call looks alike from its first frame.
async fn call(channel: &Channel, service: &str, method: &str) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel.transport());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::try_from(format!("/weft.v1.{service}/{method}")).unwrap();
    let codec = ProstCodec::<(), ()>::default();
    let mut stream = grpc.server_streaming(Request::new(()), path, codec).await?.into_inner();
    // A stream that is silent was let in.
    match tokio::time::timeout(Duration::from_millis(300), stream.message()).await {
        Ok(frame) => frame.map(drop),
        Err(_silent) => Ok(()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_open_to_its_roles_and_to_nobody_else() {
    let world = World::new().await;
    world.admit_replica(2).await;
    let name = |text| Name::new(text).unwrap();
    let parts: BTreeMap<&str, Part> = BTreeMap::from([
        ("viewer", Part::Viewer { name: name("grafana") }),
        ("admin", Part::Admin { name: name("alice") }),
        ("node", unknown_node()),
        ("replica", Part::Replica { name: ReplicaName::new("cp-2").unwrap(), id: ReplicaId(2) }),
    ]);
    let channels = ROLES.map(|role| match parts.get(role) {
        Some(part) => world.as_part(&[1], part.clone()),
        None => world.stranger(&[1]),
    });
    let mut wrong = Vec::new();
    for (service, method) in calls() {
        let row = allowed(&service, &method).unwrap_or_else(|| panic!("{service}.{method} has no row"));
        for ((role, channel), may) in ROLES.iter().zip(&channels).zip(row.chars()) {
            let code = call(channel, &service, &method).await.err().map(|status| code(&status));
            let denied = matches!(code.as_deref(), Some("W7001" | "W7002"));
            if denied == (may == 'y') {
                wrong.push(format!("{role} {service}.{method}: {code:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_no_member_is_not_heard() {
    let world = World::new().await;
    let part = Part::Replica { name: ReplicaName::new("cp-9").unwrap(), id: ReplicaId(9) };
    let stranger = world.as_part(&[1], part);
    for method in ["Propose", "ReadIndex", "LocalStatus", "RelayAsk", "Pulses"] {
        let status = call(&stranger, "Raft", method).await.unwrap_err();
        assert_eq!(code(&status), "W7002", "{method}");
    }
}
