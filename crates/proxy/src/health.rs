//! Health ports: a balancer outside asks each node whether it has endpoints of a service (`healthCheckNodePort`).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::rules::Health;

/// One connection lasts at most this long.
const CONNECTION: Duration = Duration::from_secs(30);
/// Connections at once, on one port.
const CONNECTIONS: usize = 64;
/// A port that is taken is tried again after this time.
const RETRY: Duration = Duration::from_secs(10);

type Answers = watch::Receiver<Arc<BTreeMap<u16, Health>>>;

/// Serves the ports that are wanted, as they come and go. Ends when nobody wants any more.
pub(crate) async fn serve(mut wanted: Answers) {
    let mut served: BTreeMap<u16, JoinSet<()>> = BTreeMap::new();
    loop {
        let ports: Vec<u16> = wanted.borrow_and_update().keys().copied().collect();
        served.retain(|port, _| ports.contains(port));
        for port in ports {
            let answers = wanted.clone();
            served.entry(port).or_insert_with(|| {
                let mut task = JoinSet::new();
                task.spawn(serve_port(port, answers));
                task
            });
        }
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

async fn serve_port(port: u16, answers: Answers) {
    let listener = loop {
        match TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await {
            Ok(listener) => break listener,
            Err(error) => tracing::error!(port, %error, "the health port of a service cannot be served"),
        }
        sleep(RETRY).await;
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let answers = answers.clone();
                connections.spawn(async move {
                    if timeout(CONNECTION, connection(stream, port, answers)).await.is_err() {
                        tracing::debug!(port, "a health connection lasted too long");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::debug!(port, %error, "a health connection was not accepted");
                sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, port: u16, answers: Answers) {
    let service = service_fn(|_: Request<Incoming>| {
        let answer = answer(answers.borrow().get(&port));
        async { Ok::<_, Infallible>(answer) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    let served = http.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(port, %error, "a health connection failed");
    }
}

/// What upstream's proxy says, word for word a contract with balancers.
fn answer(health: Option<&Health>) -> Response<Full<Bytes>> {
    let (namespace, name, count) = health.map_or(("", "", 0), |health| {
        (health.service.namespace.as_str(), health.service.name.as_str(), health.local_endpoints)
    });
    let body = serde_json::json!({
        "service": { "namespace": namespace, "name": name }, "localEndpoints": count, "serviceProxyHealthy": true,
    });
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = if count > 0 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let headers = response.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static("application/json"));
    headers.insert("x-content-type-options", http::HeaderValue::from_static("nosniff"));
    headers.insert("x-load-balancing-endpoint-weight", http::HeaderValue::from(count));
    response
}

#[cfg(test)]
mod tests {
    use client::ObjectKey;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn ask(port: u16) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n").await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    }

    async fn until(port: u16, what: &str) {
        let asked = async {
            while !ask(port).await.is_ok_and(|said| said.contains(what)) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), asked).await.unwrap();
    }

    #[tokio::test]
    async fn a_port_says_whether_there_are_endpoints_here() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let with = |local_endpoints| {
            let health = Health { service: ObjectKey::new("ns", "web"), local_endpoints };
            Arc::new(BTreeMap::from([(port, health)]))
        };
        let (wanted, answers) = watch::channel(with(2));
        let serving = tokio::spawn(serve(answers));
        until(port, "200 OK").await;
        let said = ask(port).await.unwrap();
        assert!(said.contains(r#""localEndpoints":2"#) && said.contains(r#""name":"web""#), "{said}");
        wanted.send_replace(with(0));
        until(port, "503 Service Unavailable").await;
        wanted.send_replace(Arc::default());
        let gone = async { while ask(port).await.is_ok() {} };
        timeout(Duration::from_secs(20), gone).await.unwrap();
        drop(wanted);
        serving.await.unwrap();
    }
}
