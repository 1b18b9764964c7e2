//! One question to a pod: TCP, HTTP or gRPC health, within its time.
//!
//! Asked from the node's own namespace: the route to a pod names the node's mesh address as source, which every pod
//! accepts. Kubernetes asks HTTPS without looking at the certificate, and so does this.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use weft_model::{Probe, ProbeHandler};
use weft_rpc::ServerName;

/// Longest head of an answer that is read, bytes: only its first line counts.
const HEAD_LIMIT: usize = 1024;

/// Asks once. Fails with the reason, in words for people.
pub(crate) async fn ask(address: IpAddr, probe: &Probe) -> Result<(), String> {
    let limit = Duration::from_millis(probe.timeout_ms.max(1).into());
    let at = |port: u16| SocketAddr::new(address, port);
    let late = || format!("no answer within {} ms", limit.as_millis());
    let answer = match &probe.handler {
        ProbeHandler::Tcp { port } => {
            let connected = tokio::time::timeout(limit, TcpStream::connect(at(*port))).await;
            connected.map_or_else(|_| Err(late()), |made| made.map(drop).map_err(|error| error.to_string()))
        }
        ProbeHandler::Http { port, path, tls, host, headers } => {
            let request = Request { address: at(*port), path, host, headers, tls: *tls };
            let asked = tokio::time::timeout(limit, request.send()).await;
            asked.unwrap_or_else(|_| Err(late()))
        }
        ProbeHandler::Grpc { port, service } => weft_rpc::check_grpc_health(at(*port), service, limit).await,
    };
    answer.map_err(|why| format!("{}: {why}", name_of(&probe.handler)))
}

/// The question in words: `http:8080/ready`.
fn name_of(handler: &ProbeHandler) -> String {
    match handler {
        ProbeHandler::Tcp { port } => format!("tcp:{port}"),
        ProbeHandler::Http { port, path, tls, .. } => {
            format!("{}:{port}{path}", if *tls { "https" } else { "http" })
        }
        ProbeHandler::Grpc { port, .. } => format!("grpc:{port}"),
    }
}

struct Request<'a> {
    address: SocketAddr,
    path: &'a str,
    host: &'a str,
    headers: &'a [(String, String)],
    tls: bool,
}

impl Request<'_> {
    async fn send(&self) -> Result<(), String> {
        let stream = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
        if !self.tls {
            return self.exchange(stream).await;
        }
        let address = ServerName::from(self.address.ip());
        let name = ServerName::try_from(self.host.to_owned()).unwrap_or(address);
        let stream = weft_rpc::tls_with_anybody(stream, name).await.map_err(|error| error.to_string())?;
        self.exchange(stream).await
    }

    async fn exchange(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), String> {
        stream.write_all(self.text().as_bytes()).await.map_err(|error| error.to_string())?;
        let mut head = Vec::new();
        while !head.contains(&b'\n') && head.len() < HEAD_LIMIT {
            match stream.read_buf(&mut head).await {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        match status_of(&head) {
            Some(200..=399) => Ok(()),
            Some(status) => Err(format!("status {status}")),
            None => Err("the answer isn't HTTP".to_owned()),
        }
    }

    /// RFC 9112; a header that people name replaces ours.
    fn text(&self) -> String {
        let path = if self.path.starts_with('/') { self.path.to_owned() } else { format!("/{}", self.path) };
        let host = if self.host.is_empty() { self.address.to_string() } else { self.host.to_owned() };
        let ours = [("Host", host.as_str()), ("User-Agent", "weft-probe"), ("Accept", "*/*")];
        let mut text = format!("GET {path} HTTP/1.1\r\n");
        let named = |name: &str| self.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
        for (name, value) in ours.into_iter().filter(|(name, _)| !named(name)) {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        for (name, value) in self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("Connection: close\r\n\r\n");
        text
    }
}

/// The status of an answer's first line.
fn status_of(head: &[u8]) -> Option<u16> {
    let line = head.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_whitespace();
    words.next().filter(|version| version.starts_with("HTTP/"))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn probe(handler: ProbeHandler) -> Probe {
        Probe {
            handler,
            initial_delay_ms: 0,
            period_ms: 1000,
            timeout_ms: 200,
            success_threshold: 1,
            failure_threshold: 3,
        }
    }

    fn http(port: u16, path: &str, headers: &[(&str, &str)]) -> Probe {
        let headers = headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        probe(ProbeHandler::Http { port, path: path.to_owned(), tls: false, host: String::new(), headers })
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// Answers each connection with what its request's path asks for; the port.
    async fn server() -> u16 {
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1000];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let word = request.split([' ', '/']).nth(2).unwrap_or_default().to_owned();
                let answer = match word.as_str() {
                    "silent" => continue,
                    "garbage" => "220 smtp\r\n".to_owned(),
                    "host" if request.contains("host: web\r\n") && !request.contains("127.0.0.1") => {
                        "HTTP/1.1 200 OK\r\n\r\n".to_owned()
                    }
                    status => format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"),
                };
                // A prober that has gone is its own affair.
                let _sent = stream.write_all(answer.as_bytes()).await;
            }
        });
        port
    }

    #[tokio::test]
    async fn an_answer_counts_by_its_status() {
        let port = server().await;
        let check = async |path: &str, expected: Result<(), &str>| {
            let expected = expected.map_err(|why| format!("http:{port}{path}: {why}"));
            assert_eq!(ask(HERE, &http(port, path, &[])).await, expected);
        };
        check("/200", Ok(())).await;
        check("/399", Ok(())).await;
        check("/400", Err("status 400")).await;
        check("/503", Err("status 503")).await;
        check("/199", Err("status 199")).await;
        check("/garbage", Err("the answer isn't HTTP")).await;
        check("/silent", Err("the answer isn't HTTP")).await;
        assert_eq!(ask(HERE, &http(port, "/host", &[("host", "web")])).await, Ok(()));
    }

    #[tokio::test]
    async fn tcp_needs_a_listener_and_silence_ends_in_time() {
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(ask(HERE, &probe(ProbeHandler::Tcp { port })).await, Ok(()));
        let silent = ask(HERE, &http(port, "/", &[])).await;
        assert_eq!(silent, Err(format!("http:{port}/: no answer within 200 ms")));
        drop(listener);
        let refused = ask(HERE, &probe(ProbeHandler::Tcp { port })).await.unwrap_err();
        assert!(refused.starts_with(&format!("tcp:{port}: ")), "{refused}");
    }
}
