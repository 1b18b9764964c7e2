//! Joining: once per token, and the same answer to the same request.

use weft_proto::v1;
use weft_rpc::{SecretKey, with_deadline};

use crate::world::{CALL, World, code, mutation, node_request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_works_once_and_a_repeated_request_is_the_same_join() {
    let world = World::new().await;
    let token = world.token(v1::Role::Node).await;
    let csr = SecretKey::generate().unwrap().request().unwrap().0;
    let mut client = world.stranger(&[1]).join();
    let request = node_request(&token, "n1", &csr);
    let first = client.join(with_deadline(request.clone(), CALL)).await.unwrap().into_inner();
    assert!(!first.leases.is_empty() && first.authority_key.is_empty());
    let again = client.join(with_deadline(request, CALL)).await.unwrap().into_inner();
    assert_eq!((first.node, first.leases), (again.node, again.leases));

    let other = SecretKey::generate().unwrap().request().unwrap().0;
    let stolen = client.join(with_deadline(node_request(&token, "n2", &other), CALL)).await.unwrap_err();
    assert_eq!(code(&stolen), "W7003");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_tokens_is_slowed_down_and_a_bad_request_costs_no_token() {
    let world = World::new().await;
    let token = world.token(v1::Role::Node).await;
    let csr = SecretKey::generate().unwrap().request().unwrap().0;
    let mut client = world.stranger(&[1]).join();
    let bad = client.join(with_deadline(node_request(&token, "n1", b"nothing"), CALL)).await.unwrap_err();
    assert_eq!(code(&bad), "W7007");
    let mut codes = Vec::new();
    for _ in 0..6 {
        let guess = node_request("wt1.aaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaa", "n1", &csr);
        codes.push(code(&client.join(with_deadline(guess, CALL)).await.unwrap_err()));
    }
    assert_eq!(codes, ["W7003", "W7003", "W7003", "W7003", "W7003", "W1003"]);
    // Who has a token is not slowed down by others behind the same address.
    client.join(with_deadline(node_request(&token, "n1", &csr), CALL)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_asked_for_again_is_one_that_works() {
    let world = World::new().await;
    let admin = world.admin(&[1]);
    let create = v1::CreateTokenRequest {
        mutation: mutation(9, 1),
        role: v1::Role::Viewer.into(),
        ..v1::CreateTokenRequest::default()
    };
    let mut told = Vec::new();
    // A caller whose first answer was lost repeats the call with its identity.
    for _ in 0..2 {
        let answer = admin.admin().create_token(with_deadline(create.clone(), CALL)).await.unwrap();
        told.push(answer.into_inner().id);
    }
    let list = admin.admin().list_tokens(with_deadline(v1::ListTokensRequest {}, CALL)).await.unwrap();
    let known: Vec<String> = list.into_inner().tokens.into_iter().map(|token| token.id).collect();
    assert!(told.iter().all(|id| known.contains(id)), "{told:?} were told, there are {known:?}");
}
