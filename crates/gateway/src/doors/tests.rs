use std::net::Ipv4Addr;

use client::ObjectKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::certificates::TlsEntry;
use crate::entries::{Port, ServiceEntry, SliceEntry, Use};
use crate::table::{self, View};

/// One service, `ns/web`, with these endpoints.
struct Web(Vec<u16>);

impl View for Web {
    fn service(&self, _: &str, _: &str) -> Option<Arc<ServiceEntry>> {
        let ports = vec![Port { name: String::new(), number: 80, h2c: false }];
        Some(Arc::new(ServiceEntry { ports, ..ServiceEntry::default() }))
    }

    fn slices(&self, _: &str, _: &str) -> Vec<Arc<SliceEntry>> {
        let slice = |port: &u16| {
            let endpoints = vec![(Ipv4Addr::LOCALHOST.into(), Use::Ready)];
            let (namespace, service) = ("ns".to_owned(), "web".to_owned());
            Arc::new(SliceEntry { namespace, service, ports: vec![(String::new(), *port)], endpoints })
        };
        self.0.iter().map(slice).collect()
    }

    fn secret(&self, _: &ObjectKey) -> Option<Arc<TlsEntry>> {
        None
    }
}

/// An open door that leads to these endpoints; the sender keeps the table.
async fn gateway(endpoints: Vec<u16>) -> (Door, watch::Sender<Arc<Table>>) {
    let ingress = serde_json::json!({"metadata": {"name": "web", "namespace": "ns"},
        "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}});
    let table = table::table(&[Arc::new(serde_json::from_value(ingress).unwrap())], &Web(endpoints));
    let (sender, table) = watch::channel(Arc::new(table));
    let (connections, stopping) = (TaskTracker::new(), CancellationToken::new());
    let forwarder = Forwarder::new(connections.clone(), stopping.clone());
    let hall = Hall { table, forwarder, places: Arc::new(Semaphore::new(9)), connections, stopping };
    (Door::open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None, Arc::new(hall)).await.unwrap(), sender)
}

/// A backend that answers every connection with the same bytes, and echoes if it switches.
async fn backend(answer: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = Vec::new();
            while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
                asked.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.contains("101") {
                let (mut reads, mut writes) = stream.split();
                tokio::io::copy(&mut reads, &mut writes).await.unwrap();
            }
        }
    });
    port
}

/// A port where nobody answers, as long as the socket is held.
fn closed() -> (tokio::net::TcpSocket, u16) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

async fn said(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let read = async {
        while !text.ends_with(end.as_bytes()) {
            text.push(stream.read_u8().await.unwrap());
        }
    };
    assert!(timeout(Duration::from_secs(20), read).await.is_ok(), "only {}", String::from_utf8_lossy(&text));
    String::from_utf8(text).unwrap()
}

async fn ask(door: &Door, method: &str) -> TcpStream {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, door.port)).await.unwrap();
    let request = format!("{method} /x HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\n\r\n1");
    let request = if method == "GET" { request.replace("Content-Length: 1\r\n\r\n1", "\r\n") } else { request };
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_connection_becomes_what_both_sides_agree_on() {
    let port = backend("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n").await;
    let (door, _table) = gateway(vec![port]).await;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, door.port)).await.unwrap();
    let request = "GET /x HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = said(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 101") && answer.contains("upgrade: chat"), "{answer}");
    for line in ["hello\n", "again\n"] {
        stream.write_all(line.as_bytes()).await.unwrap();
        assert_eq!(said(&mut stream, "\n").await, line);
    }
}

#[tokio::test]
async fn who_does_not_ask_for_another_protocol_gets_none() {
    let port = backend("HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n").await;
    let (door, _table) = gateway(vec![port]).await;
    let answer = said(&mut ask(&door, "GET").await, "\n").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
}

#[tokio::test]
async fn a_dead_endpoint_is_passed_over() {
    let ((_held, dead), alive) =
        (closed(), backend("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nyes").await);
    let (door, _table) = gateway(vec![dead, alive]).await;
    for _ in 0..4 {
        let answer = said(&mut ask(&door, "GET").await, "yes").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let (door, _table) = gateway(vec![dead]).await;
    for method in ["GET", "POST"] {
        let mut stream = ask(&door, method).await;
        let answer = said(&mut stream, "\r\n\r\n").await + &said(&mut stream, "\n").await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
        assert!(answer.contains("service ns/web cannot be reached: Connection refused"), "{answer}");
    }
}

#[tokio::test]
async fn no_endpoint_and_no_route_are_two_things() {
    let (door, table) = gateway(vec![]).await;
    let mut stream = ask(&door, "GET").await;
    let answer = said(&mut stream, "\r\n\r\n").await + &said(&mut stream, "\n").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("service ns/web has no ready endpoint"), "{answer}");
    // A connection that is there already sees the new table.
    table.send_replace(Arc::default());
    stream.write_all(b"GET /y HTTP/1.1\r\nHost: a.example\r\n\r\n").await.unwrap();
    let answer = said(&mut stream, "\r\n\r\n").await + &said(&mut stream, "\n").await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("host a.example and path /y"), "{answer}");
}

#[tokio::test]
async fn an_endpoint_that_breaks_off_is_told() {
    let port = backend("nonsense\r\n\r\n").await;
    let (door, _table) = gateway(vec![port]).await;
    let mut stream = ask(&door, "GET").await;
    let answer = said(&mut stream, "\r\n\r\n").await + &said(&mut stream, "\n").await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("service ns/web broke off"), "{answer}");
}
