//! The ways to ask a container how it is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cri::Engine;
use http::{HeaderName, HeaderValue};
use k8s_openapi::api::core::v1::{Container, GRPCAction, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;

/// What of an answer goes into an event.
const SHOWN: usize = 10 * 1024;
/// What of an answer is read at all.
const READ: usize = 64 * 1024;

pub(crate) struct Prober {
    engine: Arc<dyn Engine>,
    http: reqwest::Client,
    grpc: reqwest::Client,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Prober {
    pub(crate) fn new(engine: Arc<dyn Engine>) -> Result<Self, reqwest::Error> {
        if rustls::crypto::CryptoProvider::get_default().is_none()
            && rustls::crypto::ring::default_provider().install_default().is_err()
        {
            tracing::trace!("somebody else chose a TLS provider first");
        }
        // A probe asks one container; where that sends elsewhere is none of its business.
        let redirect = reqwest::redirect::Policy::custom(|attempt| {
            let same = attempt.previous().first().is_some_and(|first| first.host_str() == attempt.url().host_str());
            if same && attempt.previous().len() < 10 { attempt.follow() } else { attempt.stop() }
        });
        let http = reqwest::Client::builder()
            .danger_accept_invalid_certs(true)
            .user_agent("kube-probe/1.37")
            .pool_max_idle_per_host(0)
            .no_proxy()
            .redirect(redirect)
            .build()?;
        let grpc = reqwest::Client::builder()
            .http2_prior_knowledge()
            .user_agent("kube-probe/1.37")
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()?;
        Ok(Self { engine, http, grpc })
    }

    /// One question; the error says why the answer is no.
    pub(super) async fn probe(&self, container: &Container, probe: &Probe, id: &str, ip: &str) -> Result<(), String> {
        let seconds = u64::try_from(probe.timeout_seconds.unwrap_or(1)).unwrap_or(1).max(1);
        let limit = Duration::from_secs(seconds);
        let asked = async {
            if let Some(exec) = &probe.exec {
                self.exec(id, exec.command.clone().unwrap_or_default(), seconds).await
            } else if let Some(get) = &probe.http_get {
                self.http(container, get, ip).await
            } else if let Some(tcp) = &probe.tcp_socket {
                let host = tcp.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(ip);
                let port = port(container, &tcp.port)?;
                TcpStream::connect((host, port))
                    .await
                    .map(drop)
                    .map_err(|error| format!("dial tcp {}: connect: {}", authority(host, port), io_text(&error)))
            } else if let Some(grpc) = &probe.grpc {
                self.grpc(grpc, ip).await
            } else {
                Ok(())
            }
        };
        match tokio::time::timeout(limit, asked).await {
            Ok(answer) => answer,
            Err(_) if probe.exec.is_some() => Err(format!("command timed out after {seconds}s")),
            Err(_) => Err("context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned()),
        }
    }

    async fn exec(&self, id: &str, command: Vec<String>, seconds: u64) -> Result<(), String> {
        let timeout = i64::try_from(seconds).unwrap_or(1);
        let done = self.engine.exec_sync(id, command, timeout).await.map_err(text)?;
        if done.exit_code == 0 {
            return Ok(());
        }
        let output = [done.stdout, done.stderr].concat();
        Err(String::from_utf8_lossy(output.get(..SHOWN).unwrap_or(&output)).into_owned())
    }

    /// A hook is a GET whose answer does not matter much: any below 400 will do.
    pub(crate) async fn http_hook(&self, container: &Container, get: &HTTPGetAction, ip: &str) -> Result<(), String> {
        self.http(container, get, ip).await
    }

    async fn http(&self, container: &Container, get: &HTTPGetAction, ip: &str) -> Result<(), String> {
        let host = get.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(ip);
        let port = port(container, &get.port)?;
        let scheme = get.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
        let path = get.path.as_deref().unwrap_or("/");
        let slash = if path.starts_with('/') { "" } else { "/" };
        let url = format!("{scheme}://{}{slash}{path}", authority(host, port));
        let mut request = self.http.get(&url).header(http::header::ACCEPT, "*/*");
        for header in get.http_headers.iter().flatten() {
            let name = HeaderName::try_from(header.name.as_str()).map_err(text)?;
            let value = HeaderValue::try_from(header.value.as_str()).map_err(text)?;
            request = request.header(name, value);
        }
        let mut answer = request.send().await.map_err(|error| format!("Get \"{url}\": {}", cause(&error)))?;
        let status = answer.status();
        let mut read = 0;
        while let Some(chunk) = answer.chunk().await.map_err(|error| cause(&error))? {
            read += chunk.len();
            if read > READ {
                break;
            }
        }
        if (200..400).contains(&status.as_u16()) {
            return Ok(());
        }
        Err(format!("HTTP probe failed with statuscode: {}", status.as_u16()))
    }

    /// `grpc.health.v1.Health/Check`, by hand: one short message each way.
    async fn grpc(&self, action: &GRPCAction, ip: &str) -> Result<(), String> {
        let port = u16::try_from(action.port).map_err(text)?;
        let service = action.service.as_deref().unwrap_or_default().as_bytes();
        let mut message = Vec::new();
        if !service.is_empty() {
            message.push(0x0a);
            message.push(u8::try_from(service.len()).map_err(|_| "service name is too long".to_owned())?);
            message.extend_from_slice(service);
        }
        let length = u32::try_from(message.len()).map_err(text)?;
        let mut body = vec![0];
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(&message);
        let url = format!("http://{}/grpc.health.v1.Health/Check", authority(ip, port));
        let request =
            self.grpc.post(&url).header(http::header::CONTENT_TYPE, "application/grpc").header("te", "trailers");
        let answer = request.body(body).send().await.map_err(|error| cause(&error))?;
        let answer = answer.bytes().await.map_err(|error| cause(&error))?;
        // After five bytes of frame: field 1, value 1 (SERVING).
        match answer.get(5..7) {
            Some([0x08, 0x01]) => Ok(()),
            _ => Err("service unhealthy (responded with \"NOT_SERVING\")".to_owned()),
        }
    }
}

fn authority(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        _ => format!("{host}:{port}"),
    }
}

/// The innermost cause is what people want to read.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

fn io_text(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    }
}

fn port(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            let named = ports.into_iter().find(|port| port.name.as_ref() == Some(name)).map(|port| port.container_port);
            named.or_else(|| name.parse().ok())
        }
    };
    let number = number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or_else(|| "invalid port number".to_owned())
}
