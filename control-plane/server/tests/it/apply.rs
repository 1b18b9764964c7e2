//! Applies at the same time: each is made from what the other left.

use weft_proto::v1;
use weft_rpc::{Channel, error_of, with_deadline};

use crate::world::{CALL, World, mutation};

/// Applies one field of the fabric.
async fn apply(channel: &Channel, client: u8, sequence: u64, field: String) -> v1::ApplyResponse {
    let text = format!("apiVersion: weft.io/v1\nkind: Fabric\nmetadata: {{name: main}}\nspec: {{{field}}}\n");
    let request =
        v1::ApplyRequest { mutation: mutation(client, sequence), text, ..v1::ApplyRequest::default() };
    channel.admin().apply(with_deadline(request, CALL)).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_change_different_fields_at_once_lose_nothing() {
    let world = World::new().await;
    let (one, two) = (world.admin(&[1]), world.admin(&[1]));
    for round in 1..=20 {
        let (exceptions, balancers) = (format!("172.16.{round}.0/24"), format!("172.17.{round}.0/24"));
        tokio::join!(
            apply(&one, 1, round, format!("masqueradeExceptions: [{exceptions}]")),
            apply(&two, 2, round, format!("ranges: {{loadBalancers: [{balancers}]}}")),
        );
        let request = v1::ListRequest { kind: v1::Kind::Fabric.into(), ..v1::ListRequest::default() };
        let list = one.admin().list(with_deadline(request, CALL)).await.unwrap().into_inner();
        let fabric = format!("{:?}", weft_model::Object::try_from(list.objects[0].clone()).unwrap());
        assert!(fabric.contains(&exceptions) && fabric.contains(&balancers), "round {round}: {fabric}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_made_from_an_older_object_or_another_of_its_name_overwrites_nothing() {
    let world = World::new().await;
    let admin = world.admin(&[1]);
    let write = async |sequence: u64, meta: &str, label: &str| {
        let text = format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: web, labels: {{step: {label}}}{meta}}}, spec: {{ports: [{{port: 80}}]}}}}"
        );
        let request =
            v1::ApplyRequest { mutation: mutation(1, sequence), text, ..v1::ApplyRequest::default() };
        let answer = admin.admin().apply(with_deadline(request, CALL)).await;
        answer.map(|answer| answer.into_inner()).map_err(|status| error_of(&status).code.to_string())
    };
    let version = |answer: v1::ApplyResponse| format!(", resourceVersion: '{}'", answer.revision);
    let first =
        version(write(1, ", resourceVersion: '7'", "made").await.expect("there was none, it is made"));
    let second = version(write(2, &first, "changed").await.expect("as its writer saw it"));
    assert_eq!(write(3, &first, "lost").await.map(drop), Err("W3107".to_owned()), "it is another by now");
    assert_eq!(write(3, ", uid: somebody", "lost").await.map(drop), Err("W3107".to_owned()));
    write(3, &second, "again").await.expect("nobody else wrote");
    write(4, "", "blindly").await.expect("who says nothing asks for nothing");
}
