//! Applies at the same time: each is made from what the other left.

use weft_proto::v1;
use weft_rpc::{Channel, with_deadline};

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
