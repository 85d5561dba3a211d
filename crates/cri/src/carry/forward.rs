//! Port-forward: SPDY streams, plain or tunnelled in WebSocket, or WebSocket channels.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use spdy::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

use super::streams::{self, header};
use super::websocket::{self, Socket, Tunnel};
use super::{Begun, Refused};
use crate::Engine;

const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
const CHANNELS: &str = "v4.channel.k8s.io";
/// Connections through one session at once.
const CONNECTIONS: usize = 256;

/// Forwards connections into a sandbox for whoever sent `request`.
pub fn forward(engine: Arc<dyn Engine>, sandbox: String, request: &mut Request<Incoming>) -> Result<Begun, Refused> {
    if websocket::is_websocket(request.headers()) {
        let protocol = websocket::choose(request.headers(), &[TUNNEL, CHANNELS])
            .ok_or_else(|| Refused::bad("unable to negotiate protocol: none of those offered is known"))?;
        let ports = ports(request.uri().query().unwrap_or_default());
        let (answer, upgrade) = websocket::upgrade(request, protocol)?;
        return Ok(Begun::new(answer, async move {
            let Ok(upgraded) = upgrade.await else { return };
            let socket = websocket::socket(upgraded).await;
            if protocol == TUNNEL {
                over_streams(&engine, streams::over(Tunnel::new(socket)), &sandbox).await;
            } else {
                over_channels(&engine, socket, &sandbox, &ports).await;
            }
        }));
    }
    if websocket::is_spdy(request.headers()) {
        let mut answer = websocket::switching("SPDY/3.1");
        answer.headers_mut().insert("X-Stream-Protocol-Version", HeaderValue::from_static("portforward.k8s.io"));
        let upgrade = hyper::upgrade::on(request);
        return Ok(Begun::new(answer, async move {
            let Ok(upgraded) = upgrade.await else { return };
            over_streams(&engine, streams::over(TokioIo::new(upgraded)), &sandbox).await;
        }));
    }
    Err(Refused::bad("Upgrade request required"))
}

/// `port=80&ports=81,82`: digits and commas need no decoding, other than a comma that was encoded.
fn ports(query: &str) -> Vec<u16> {
    let values = query.split('&').filter_map(|pair| pair.split_once('='));
    let lists = values.filter(|(key, _)| matches!(*key, "port" | "ports")).map(|(_, value)| value.replace("%2C", ","));
    lists.flat_map(|list| list.split(',').filter_map(|port| port.parse().ok()).collect::<Vec<_>>()).collect()
}

/// Each connection is a pair of streams that carry the same request id.
async fn over_streams(engine: &Arc<dyn Engine>, mut streams: spdy::Connection, sandbox: &str) {
    let mut halves: HashMap<String, Stream> = HashMap::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = streams.accept() => accepted,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::warn!(%error, "forwarded connection ended abnormally");
                }
                continue;
            }
        };
        let Some(stream) = accepted else { return };
        let id = header(&stream, "requestid").unwrap_or_default().to_owned();
        let Some(other) = halves.remove(&id) else {
            if halves.len() < CONNECTIONS {
                halves.insert(id, stream);
            }
            continue;
        };
        let is_data = header(&stream, "streamtype") == Some("data");
        let (data, error) = if is_data { (stream, other) } else { (other, stream) };
        if connections.len() < CONNECTIONS {
            connections.spawn(connect(Arc::clone(engine), sandbox.to_owned(), data, error));
        }
    }
}

async fn connect(engine: Arc<dyn Engine>, sandbox: String, mut data: Stream, mut error: Stream) {
    let port = header(&data, "port").and_then(|port| port.parse::<u16>().ok()).unwrap_or(0);
    let failure = match engine.port_forward(&sandbox, port).await {
        Ok(mut remote) => tokio::io::copy_bidirectional(&mut data, &mut remote).await.err().map(|e| e.to_string()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(failure) = failure {
        let text = format!("error forwarding port {port} to pod {sandbox}: {failure}");
        if error.write_all(text.as_bytes()).await.is_err() {
            tracing::trace!("client is gone");
        }
    }
    if error.shutdown().await.is_err() || data.shutdown().await.is_err() {
        tracing::trace!("client is gone");
    }
}

/// Two channels a port: data, and errors. Both begin with the port.
async fn over_channels(engine: &Arc<dyn Engine>, socket: Socket, sandbox: &str, ports: &[u16]) {
    let (mut sink, mut incoming) = socket.split();
    let (messages, mut queue) = mpsc::channel::<Message>(32);
    let mut inputs = Vec::new();
    let mut connections = JoinSet::new();
    for (index, port) in ports.iter().take(100).enumerate() {
        let Ok(channel) = u8::try_from(index * 2) else { break };
        let (input, received) = mpsc::channel::<Bytes>(32);
        inputs.push(input);
        let forward = Channel { number: channel, port: *port, messages: messages.clone() };
        connections.spawn(forward.run(Arc::clone(engine), sandbox.to_owned(), received));
    }
    drop(messages);
    let write = async {
        while let Some(message) = queue.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
        if sink.close().await.is_err() {
            tracing::trace!("client is gone");
        }
    };
    let read = async {
        while let Some(Ok(message)) = incoming.next().await {
            let Message::Binary(mut data) = message else { continue };
            if data.is_empty() {
                continue;
            }
            let channel = data.split_to(1).first().copied().unwrap_or(0);
            let input = inputs.get(usize::from(channel / 2)).filter(|_| channel % 2 == 0);
            if let Some(input) = input
                && input.send(data).await.is_err()
            {
                tracing::trace!(channel, "connection has ended");
            }
        }
    };
    tokio::select! {
        () = write => {}
        () = read => {}
    }
}

struct Channel {
    number: u8,
    port: u16,
    messages: mpsc::Sender<Message>,
}

impl Channel {
    async fn send(&self, channel: u8, data: &[u8]) -> bool {
        let mut message = Vec::with_capacity(data.len() + 1);
        message.push(channel);
        message.extend_from_slice(data);
        self.messages.send(Message::Binary(Bytes::from(message))).await.is_ok()
    }

    async fn run(self, engine: Arc<dyn Engine>, sandbox: String, mut input: mpsc::Receiver<Bytes>) {
        let (data, error) = (self.number, self.number + 1);
        let port = self.port.to_le_bytes();
        if !self.send(data, &port).await || !self.send(error, &port).await {
            return;
        }
        let remote = match engine.port_forward(&sandbox, self.port).await {
            Ok(remote) => remote,
            Err(failure) => {
                let text = format!("error forwarding port {} to pod {sandbox}: {failure}", self.port);
                self.send(error, text.as_bytes()).await;
                return;
            }
        };
        let (mut from, mut to) = tokio::io::split(remote);
        let upward = async {
            while let Some(data) = input.recv().await {
                if to.write_all(&data).await.is_err() {
                    return;
                }
            }
        };
        let downward = async {
            let mut buffer = vec![0; 32 * 1024];
            while let Ok(count) = from.read(&mut buffer).await {
                let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else { return };
                if !self.send(data, read).await {
                    return;
                }
            }
        };
        tokio::select! {
            () = upward => {}
            () = downward => {}
        }
    }
}
