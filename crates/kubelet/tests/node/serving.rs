//! The kubelet's server, as the API server talks to it.

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kubelet::ServerTls;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::{Node, until};

/// A node with a server, and a way in.
struct Door {
    node: Node,
    connector: TlsConnector,
    _files: tempfile::TempDir,
}

struct Issued {
    cert: rcgen::Certificate,
    key: KeyPair,
}

fn issue(issuer: &Issuer<'_, KeyPair>, name: &str) -> Issued {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    Issued { cert: params.signed_by(&key, issuer).unwrap(), key }
}

impl Door {
    /// `user` is whom the client's certificate names, if it has one.
    async fn open(user: Option<&str>) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let server = issue(&issuer, "n1");
        let files = tempfile::tempdir().unwrap();
        let path = |name: &str| files.path().join(name);
        std::fs::write(path("ca"), ca.pem()).unwrap();
        std::fs::write(path("cert"), server.cert.pem()).unwrap();
        std::fs::write(path("key"), server.key.serialize_pem()).unwrap();
        let tls = ServerTls {
            cert_file: path("cert"),
            key_file: path("key"),
            client_ca_file: Some(path("ca")),
            bootstrap: false,
        };
        let node = Node::with(|config| config.tls = Some(tls)).await;

        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let config = match user {
            None => builder.with_no_client_auth(),
            Some(user) => {
                let own = issue(&issuer, user);
                let key = rustls::pki_types::PrivatePkcs8KeyDer::from(own.key.serialize_der());
                builder.with_client_auth_cert(vec![own.cert.der().clone()], key.into()).unwrap()
            }
        };
        let door = Self { node, connector: TlsConnector::from(Arc::new(config)), _files: files };
        door.node.create("p", json!({"containers": [{"name": "c", "image": "web", "imagePullPolicy": "Never"}]}));
        door.node.ready("p").await;
        door
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let port = || {
            let node = self.node.api.get("nodes", "", "n1").unwrap_or_default();
            node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64()
        };
        until("the port", || port().is_some()).await;
        let stream = TcpStream::connect(("127.0.0.1", u16::try_from(port().unwrap()).unwrap())).await.unwrap();
        self.connector.connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await.unwrap()
    }

    async fn get(&self, path: &str, token: Option<&str>) -> (u16, hyper::body::Incoming) {
        let io = TokioIo::new(self.connect().await);
        let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::get(format!("https://127.0.0.1{path}"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = sender.send_request(request.body(Empty::<bytes::Bytes>::new()).unwrap()).await.unwrap();
        (answer.status().as_u16(), answer.into_body())
    }

    async fn text(&self, path: &str) -> String {
        let (status, body) = self.get(path, None).await;
        let text = body.collect().await.unwrap().to_bytes();
        format!("{status} {}", String::from_utf8_lossy(&text))
    }

    async fn socket(&self, path: &str, protocol: &'static str) -> WebSocketStream<TlsStream<TcpStream>> {
        let mut request = format!("wss://127.0.0.1{path}").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(protocol));
        let stream = self.connect().await;
        let (socket, answer) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        assert_eq!(answer.headers()["sec-websocket-protocol"], protocol);
        socket
    }
}

/// What comes in until the other end closes, by channel.
async fn all(socket: &mut WebSocketStream<TlsStream<TcpStream>>) -> Vec<(u8, String)> {
    let mut seen: Vec<(u8, String)> = Vec::new();
    let read = async {
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Binary(data) = message {
                let text = String::from_utf8_lossy(&data[1..]).into_owned();
                match seen.last_mut().filter(|(channel, _)| *channel == data[0]) {
                    Some((_, so_far)) => so_far.push_str(&text),
                    None => seen.push((data[0], text)),
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.unwrap();
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_turned_away() {
    let door = Door::open(None).await;
    assert_eq!(door.get("/pods", None).await.0, 401);
    assert_eq!(door.get("/pods", Some("rubbish")).await.0, 401);
    assert_eq!(door.get("/pods", Some("token-of-nobody")).await.0, 403);
    assert_eq!(door.get("/pods", Some("token-of-admin")).await.0, 200);
    let known = Door::open(Some("nobody")).await;
    assert_eq!(known.get("/pods", None).await.0, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_read_followed_and_cut() {
    let door = Door::open(Some("admin")).await;
    let path = "/containerLogs/ns/p/c";
    for line in ["one", "two", "three"] {
        door.node.engine.log("c", line);
    }
    assert_eq!(door.text(path).await, "200 one\ntwo\nthree\n");
    assert_eq!(door.text(&format!("{path}?tailLines=2")).await, "200 two\nthree\n");
    assert_eq!(door.text(&format!("{path}?limitBytes=5")).await, "200 one\nt");
    assert_eq!(door.text(&format!("{path}?sinceTime=2200-01-01T00:00:00Z")).await, "200 ");
    assert!(door.text(&format!("{path}?timestamps=true&tailLines=1")).await.ends_with("Z three\n"));
    assert!(door.text(&format!("{path}?previous=true")).await.starts_with("400 previous terminated container"));
    assert!(door.text("/containerLogs/ns/none/c").await.starts_with("404 "));

    let (status, mut body) = door.get(&format!("{path}?follow=true&tailLines=0"), None).await;
    assert_eq!(status, 200);
    door.node.engine.log("c", "four");
    let frame = tokio::time::timeout(Duration::from_secs(10), body.frame()).await.unwrap().unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "four\n");
    door.node.engine.log("c", "five");
    door.node.engine.exit("c", 1);
    let rest = tokio::time::timeout(Duration::from_secs(10), body.collect()).await.unwrap().unwrap();
    assert_eq!(rest.to_bytes(), "five\n", "the stream ends with the container");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_run_over_websocket() {
    let door = Door::open(Some("admin")).await;
    let status = |text: &str| serde_json::from_str::<Value>(text).unwrap();

    let mut socket = door.socket("/exec/ns/p/c?command=x&command=0&output=1", "v5.channel.k8s.io").await;
    let seen = all(&mut socket).await;
    assert_eq!(seen[0], (1, "out".into()));
    assert_eq!((seen[1].0, &status(&seen[1].1)["status"]), (3, &json!("Success")));

    let mut socket = door.socket("/exec/ns/p/c?command=x&command=7&output=1", "v4.channel.k8s.io").await;
    let seen = all(&mut socket).await;
    assert_eq!(status(&seen[1].1)["details"]["causes"][0], json!({"reason": "ExitCode", "message": "7"}));

    let mut socket = door.socket("/exec/ns/p/c?command=missing&output=1", "v5.channel.k8s.io").await;
    assert_eq!(status(&all(&mut socket).await[0].1)["reason"], "InternalError");

    // What goes in comes out, and the end of it ends the session.
    let mut socket = door.socket("/exec/ns/p/c?command=cat&input=1&output=1", "v5.channel.k8s.io").await;
    socket.send(Message::Binary(b"\x00hello".to_vec().into())).await.unwrap();
    socket.send(Message::Binary(vec![255, 0].into())).await.unwrap();
    let seen = all(&mut socket).await;
    assert_eq!(seen[0], (1, "hello".into()));
    assert_eq!(status(&seen[1].1)["status"], "Success");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_are_forwarded_over_websocket() {
    let door = Door::open(Some("admin")).await;
    let mut socket = door.socket("/portForward/ns/p?port=80", "v4.channel.k8s.io").await;
    let next = async |socket: &mut WebSocketStream<TlsStream<TcpStream>>| loop {
        let message = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.unwrap();
        if let Message::Binary(data) = message.unwrap().unwrap() {
            return data.to_vec();
        }
    };
    assert_eq!(next(&mut socket).await, [0, 80, 0]);
    assert_eq!(next(&mut socket).await, [1, 80, 0]);
    socket.send(Message::Binary(b"\x00ping".to_vec().into())).await.unwrap();
    assert_eq!(next(&mut socket).await, b"\x00ping");
}
