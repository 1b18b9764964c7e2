//! Peers that don't keep to the rules (attack list C3, D2, D3).

use std::{sync::Arc, time::Duration};

use rustls::{
    ClientConfig, DigitallySignedStruct, NamedGroup, ProtocolVersion, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use weft_process::wait;
use weft_proto::v1;
use weft_rpc::{DETAILS_LIMIT, Limits, error_of};

use crate::world::{LIMIT, Server, World, node, node_call, who_am_i};

/// A ClientHello of TLS 1.2: no supported_versions extension (RFC 8446 section 4.2.1).
fn client_hello_of_tls_1_2() -> Vec<u8> {
    let extensions: &[u8] = &[
        0x00, 0x0a, 0x00, 0x06, 0x00, 0x04, 0x00, 0x1d, 0x00, 0x17, // groups: x25519, secp256r1
        0x00, 0x0d, 0x00, 0x06, 0x00, 0x04, 0x04, 0x03, 0x08, 0x04, // signatures: ecdsa p256, rsa pss
        0x00, 0x0b, 0x00, 0x02, 0x01, 0x00, // points: uncompressed
        0x00, 0x17, 0x00, 0x00, // extended master secret
    ];
    let mut body = vec![0x03, 0x03];
    body.extend([0x5a; 32]);
    body.push(0);
    body.extend([0x00, 0x04, 0xc0, 0x2b, 0xc0, 0x2f]); // ECDHE with AES-128-GCM
    body.extend([0x01, 0x00]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut record = vec![0x16, 0x03, 0x01];
    record.extend((body.len() as u16 + 4).to_be_bytes());
    record.push(0x01);
    record.extend(&(body.len() as u32).to_be_bytes()[1..]);
    record.extend(body);
    record
}

/// A client of ours that believes anybody: the server is what is tested.
#[derive(Debug)]
struct Believer;

impl ServerCertVerifier for Believer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

async fn raw_tls(source: &str, server: &Server) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believer))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = connect_from(source, server).await;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("x").unwrap(), tcp).await
}

/// Reads until the server closes.
async fn closed(stream: &mut (impl AsyncReadExt + Unpin)) {
    let mut buffer = [0; 4096];
    let reading = async { while let Ok(1..) = stream.read(&mut buffer).await {} };
    tokio::time::timeout(LIMIT, reading).await.expect("the server closes the connection");
}

#[tokio::test]
async fn tls_1_2_is_refused_with_an_alert() {
    let world = World::new();
    let server = world.serve(1, Limits::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&client_hello_of_tls_1_2()).await.unwrap();
    let mut alert = [0; 7];
    stream.read_exact(&mut alert).await.unwrap();
    // Alert record, fatal, protocol_version (RFC 8446 section 6).
    assert_eq!((alert[0], &alert[5..]), (21, &[2, 70][..]));
}

#[tokio::test]
async fn the_hybrid_key_exchange_is_negotiated() {
    let world = World::new();
    let server = world.serve(1, Limits::default()).await;
    let stream = raw_tls("127.0.0.1", &server).await.unwrap();
    let session = stream.get_ref().1;
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(session.negotiated_key_exchange_group().unwrap().name(), NamedGroup::X25519MLKEM768);
    assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn an_endless_handshake_is_cut_and_does_not_hold_up_others() {
    let world = World::new();
    let limits = Limits { handshake: Duration::from_millis(200), ..Limits::default() };
    let server = world.serve(1, limits).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(&client_hello_of_tls_1_2()[..9]).await.unwrap();
    node_call(&world.channel(&[&server], Some(world.identity(&node("n1"))))).await.unwrap();
    closed(&mut silent).await;
    closed(&mut slow).await;
}

/// A connection from one of the addresses of the loopback network.
async fn connect_from(source: &str, server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    socket.connect(server.address).await.unwrap()
}

#[tokio::test]
async fn idle_connections_of_one_source_shut_nobody_out() {
    let world = World::new();
    // No deadline helps in this test: only places that are taken away again do.
    let limits = Limits { handshakes: 4, handshake: LIMIT, client_hello: LIMIT, ..Limits::default() };
    let server = world.serve(1, limits).await;
    let mut slow = connect_from("127.0.0.3", &server).await;
    let mut idle = Vec::new();
    for _ in 0..12 {
        idle.push(connect_from("127.0.0.2", &server).await);
    }
    // A node at another address, and one at the very address of who holds all places.
    for n in ["n1", "n2"] {
        node_call(&world.channel(&[&server], Some(world.identity(&node(n))))).await.unwrap();
    }
    closed(&mut idle[0]).await;
    // Who holds fewer places keeps them: the slow one's handshake goes on.
    slow.write_all(&client_hello_of_tls_1_2()).await.unwrap();
    let mut alert = [0; 7];
    slow.read_exact(&mut alert).await.unwrap();
    assert_eq!(alert[0], 21, "the server has read its hello");
}

#[tokio::test]
async fn a_client_that_never_says_hello_is_cut_sooner_than_one_that_is_slow_later() {
    let world = World::new();
    let limits =
        Limits { client_hello: Duration::from_millis(100), handshake: LIMIT * 3, ..Limits::default() };
    let server = world.serve(1, limits).await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(&client_hello_of_tls_1_2()[..9]).await.unwrap();
    closed(&mut slow).await;
    node_call(&world.channel(&[&server], Some(world.identity(&node("n1"))))).await.unwrap();
}

#[tokio::test]
async fn strangers_cannot_take_the_places_of_nodes_and_leave_after_their_time() {
    let world = World::new();
    let limits = Limits { strangers: 2, stranger_life: Duration::from_millis(300), ..Limits::default() };
    let server = world.serve(1, limits).await;
    let mut first = raw_tls("127.0.0.2", &server).await.unwrap();
    let mut second = raw_tls("127.0.0.2", &server).await.unwrap();
    // The third has no place: its connection ends at once, or before the handshake is through on its side.
    if let Ok(mut third) = raw_tls("127.0.0.2", &server).await {
        closed(&mut third).await;
    }
    node_call(&world.channel(&[&server], Some(world.identity(&node("n1"))))).await.unwrap();
    closed(&mut first).await;
    closed(&mut second).await;
    let stranger = world.channel(&[&server], None);
    wait::until(LIMIT, "a place is free again", async || who_am_i(&stranger).await.ok()).await.unwrap();
}

#[tokio::test]
async fn strangers_of_one_source_leave_room_for_others() {
    let world = World::new();
    let server = world.serve(1, Limits { strangers: 3, ..Limits::default() }).await;
    let mut crowd = Vec::new();
    for _ in 0..3 {
        crowd.push(raw_tls("127.0.0.2", &server).await.unwrap());
    }
    // A machine that joins from elsewhere gets in at once, in place of the oldest of the crowd.
    assert_eq!(
        who_am_i(&world.channel(&[&server], None)).await.unwrap(),
        "the call needs a client certificate"
    );
    closed(&mut crowd[0]).await;
}

#[tokio::test]
async fn connections_beyond_the_cap_are_closed_at_once() {
    let world = World::new();
    let server = world.serve(1, Limits { connections: 1, ..Limits::default() }).await;
    let good = world.channel(&[&server], Some(world.identity(&node("n1"))));
    node_call(&good).await.unwrap();
    let mut further = TcpStream::connect(server.address).await.unwrap();
    closed(&mut further).await;
    node_call(&good).await.unwrap();
}

#[tokio::test]
async fn a_reset_connection_is_replaced_by_the_next_call() {
    let world = World::new();
    let server = world.serve(1, Limits::default()).await;
    let (proxy, cut) = proxy(server.address).await;
    let channel = weft_rpc::Channel::new(weft_rpc::ChannelOptions {
        endpoints: vec![proxy.to_string()],
        trust: world.trust(),
        identity: Some(world.identity(&node("n1"))),
        replica: None,
    })
    .unwrap();
    node_call(&channel).await.unwrap();
    let mut frames = channel.sync().watch(v1::WatchRequest::default()).await.unwrap().into_inner();
    assert!(frames.message().await.unwrap().is_some());
    cut.send(Harm::Reset).unwrap();
    let broken = tokio::time::timeout(LIMIT, async {
        loop {
            match frames.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a broken stream is not a finished one"),
                Err(status) => break error_of(&status),
            }
        }
    });
    assert_eq!(broken.await.expect("the follower notices").code, "W1001");
    let again = || async { channel.sync().report(v1::ReportRequest::default()).await };
    channel.retry(LIMIT, again).await.unwrap();
}

/// What a proxy does to its open connections.
#[derive(Clone, Copy, Debug)]
enum Harm {
    /// Resets them.
    Reset,
    /// Forwards nothing any more, as a machine that lost its power.
    Silence,
}

/// Forwards connections to a server until it is told to harm those that are open.
async fn proxy(to: std::net::SocketAddr) -> (std::net::SocketAddr, tokio::sync::broadcast::Sender<Harm>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (cut, _) = tokio::sync::broadcast::channel(1);
    let cuts = cut.clone();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut cut = cuts.subscribe();
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    harm = cut.recv() => match harm {
                        Ok(Harm::Silence) => std::future::pending().await,
                        Ok(Harm::Reset) | Err(_) => {
                            near.set_zero_linger().unwrap();
                            far.set_zero_linger().unwrap();
                        }
                    }
                }
            });
        }
    });
    (address, cut)
}

#[tokio::test]
async fn a_replica_that_fell_silent_is_noticed_within_three_seconds() {
    let world = World::new();
    let server = world.serve(1, Limits::default()).await;
    let (proxy, cut) = proxy(server.address).await;
    let channel = weft_rpc::Channel::new(weft_rpc::ChannelOptions {
        endpoints: vec![proxy.to_string()],
        trust: world.trust(),
        identity: Some(world.identity(&node("n1"))),
        replica: None,
    })
    .unwrap();
    let mut frames = channel.sync().watch(v1::WatchRequest::default()).await.unwrap().into_inner();
    for _ in 0..3 {
        frames.message().await.unwrap().unwrap();
    }
    // A stream on which nothing happens lives on.
    let quiet = tokio::time::timeout(Duration::from_secs(4), frames.message()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    cut.send(Harm::Silence).unwrap();
    let noticed = tokio::time::timeout(Duration::from_secs(3), frames.message()).await;
    assert!(matches!(noticed, Ok(Err(_))), "{noticed:?}");
}

#[tokio::test]
async fn long_details_are_cut_instead_of_hanging() {
    let world = World::new();
    let server = world.serve(1, Limits::default()).await;
    let channel = world.channel(&[&server], None);
    let status = tokio::time::timeout(LIMIT, channel.join().renew(v1::RenewRequest::default()))
        .await
        .expect("no hang")
        .unwrap_err();
    assert!(status.details().len() <= DETAILS_LIMIT);
    let error = error_of(&status);
    assert_eq!(error.code, "W2203");
    assert!(error.cause.last().unwrap().ends_with(" more"), "{:?}", error.cause.last());
}

#[tokio::test]
async fn messages_over_the_limit_are_refused_on_both_ends() {
    let world = World::new();
    let server = world.serve(1, Limits::default()).await;
    let channel = world.channel(&[&server], Some(world.identity(&node("n1"))));
    let request = |bytes: usize| v1::PublishPodsRequest {
        upserts: vec![v1::Pod { container: "x".repeat(bytes), ..Default::default() }],
        ..Default::default()
    };
    let send =
        async |bytes| channel.call(LIMIT, async { channel.sync().publish_pods(request(bytes)).await }).await;
    assert_eq!(send(3 << 20).await.unwrap().revision, 1);
    assert_eq!(send(5 << 20).await.unwrap_err().code, "W3201");
    // The same the other way: the server has more to say than a client takes.
    let error = channel.call(LIMIT, async { channel.join().join(huge_name()).await }).await.unwrap_err();
    assert_eq!(error.code, "W3201", "{error}");
    node_call(&channel).await.unwrap();
}

/// The test's Join answers a name of more than a megabyte with five megabytes.
fn huge_name() -> v1::JoinRequest {
    v1::JoinRequest { name: "x".repeat(1 << 20), ..Default::default() }
}

/// Frames of HTTP/2 (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

async fn http2(server: &Server) -> TlsStream<TcpStream> {
    let mut stream = raw_tls("127.0.0.1", server).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    stream
}

/// Writes until the server has closed; fails when it takes everything.
async fn flood(mut stream: TlsStream<TcpStream>, mut next: impl FnMut(u32) -> Vec<u8>) {
    let (mut read, mut write) = tokio::io::split(&mut stream);
    let reading = async { while let Ok(1..) = read.read(&mut [0; 4096]).await {} };
    let writing = async {
        for number in 0..200_000 {
            if write.write_all(&next(number)).await.is_err() {
                return;
            }
        }
        let _flushed = write.flush().await;
        std::future::pending::<()>().await;
    };
    let ended = async {
        tokio::select! {
            () = reading => {}
            () = writing => {}
        }
    };
    tokio::time::timeout(LIMIT, ended).await.expect("the server closes a flood");
}

#[tokio::test]
async fn floods_close_the_connection_and_the_server_goes_on() {
    let world = World::new();
    let server = world.serve(1, Limits::default()).await;
    // HPACK: :method POST, :scheme http, :path /, each from the static table.
    let head: &[u8] = &[0x83, 0x86, 0x84];
    // Rapid reset (CVE-2023-44487): open and reset, again and again.
    flood(http2(&server).await, |number| {
        let stream = number * 2 + 1;
        [frame(1, 0x4, stream, head), frame(3, 0, stream, &[0, 0, 0, 8])].concat()
    })
    .await;
    // A header block that never ends (CONTINUATION flood).
    flood(http2(&server).await, |number| {
        if number == 0 {
            frame(1, 0, 1, head)
        } else {
            frame(9, 0, 1, &[0x00, 0x01, b'a', 0x01, b'b'].repeat(2000))
        }
    })
    .await;
    node_call(&world.channel(&[&server], Some(world.identity(&node("n1"))))).await.unwrap();
}
