//! Remote commands over WebSocket: each message begins with the number of its channel.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::remote;
use super::websocket::Socket;
use crate::{CriError, Session, TerminalSize};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;
/// Messages that wait for a slow client.
const QUEUE: usize = 32;

/// Best first. The empty one is for clients that name none.
pub(super) const PROTOCOLS: [&str; 6] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "",
];

#[derive(Clone, Copy)]
pub(super) struct Protocol {
    base64: bool,
    /// The error channel carries a `metav1.Status`.
    status: bool,
    /// The client can close a channel.
    close: bool,
}

impl Protocol {
    pub(super) fn of(name: &str) -> Self {
        Self { base64: name.contains("base64"), status: name.starts_with('v'), close: name.starts_with("v5") }
    }

    fn encode(self, channel: u8, data: &[u8]) -> Message {
        if self.base64 {
            let digit = char::from(b'0' + channel.min(9));
            return Message::text(format!("{digit}{}", STANDARD.encode(data)));
        }
        let mut message = Vec::with_capacity(data.len() + 1);
        message.push(channel);
        message.extend_from_slice(data);
        Message::Binary(Bytes::from(message))
    }

    fn decode(self, message: &Message) -> Option<(u8, Vec<u8>)> {
        match message {
            Message::Binary(data) => data.split_first().map(|(channel, data)| (*channel, data.to_vec())),
            Message::Text(text) => {
                let (channel, data) = text.as_bytes().split_first()?;
                let channel = channel.checked_sub(b'0')?;
                let data = if self.base64 { STANDARD.decode(data).ok()? } else { data.to_vec() };
                Some((channel, data))
            }
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

pub(super) fn terminal_size(json: &[u8]) -> Option<TerminalSize> {
    let size: Size = serde_json::from_slice(json).ok()?;
    Some(TerminalSize { width: size.width, height: size.height })
}

/// Carries a session until it ends or the client goes.
pub(super) async fn run(socket: Socket, begun: Result<Session, CriError>, protocol: Protocol) {
    let (mut sink, mut incoming) = socket.split();
    let (messages, mut queue) = mpsc::channel::<Message>(QUEUE);
    let write = async move {
        while let Some(message) = queue.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        if sink.send(Message::Close(Some(frame))).await.is_ok()
            && let Err(error) = sink.close().await
        {
            tracing::trace!(%error, "socket not closed");
        }
    };
    let session = match begun {
        Ok(session) => session,
        Err(error) => {
            end(&messages, protocol, &Err(error)).await;
            drop(messages);
            return write.await;
        }
    };
    let Session { mut stdin, stdout, stderr, resize, exit } = session;
    let output = async move {
        // Tells the client that the session has begun.
        let first = if stdout.is_some() { STDOUT } else { STDERR };
        send(&messages, protocol.encode(first, &[])).await;
        tokio::join!(pump(stdout, STDOUT, protocol, &messages), pump(stderr, STDERR, protocol, &messages));
        end(&messages, protocol, &exit.await).await;
    };
    let input = async {
        while let Some(Ok(message)) = incoming.next().await {
            match protocol.decode(&message) {
                Some((STDIN, data)) => {
                    if let Some(open) = &mut stdin
                        && (open.write_all(&data).await.is_err() || open.flush().await.is_err())
                    {
                        stdin = None;
                    }
                }
                Some((RESIZE, data)) => {
                    if let (Some(resize), Some(size)) = (&resize, terminal_size(&data))
                        && resize.send(size).await.is_err()
                    {
                        tracing::trace!("terminal is gone");
                    }
                }
                Some((CLOSE, data)) if protocol.close && data.first() == Some(&STDIN) => stdin = None,
                _ if matches!(message, Message::Close(_)) => return,
                _ => {}
            }
        }
    };
    tokio::select! {
        _ = async { tokio::join!(output, write) } => {}
        () = input => {}
    }
}

async fn send(messages: &mpsc::Sender<Message>, message: Message) {
    if messages.send(message).await.is_err() {
        tracing::trace!("client is gone");
    }
}

async fn end(messages: &mpsc::Sender<Message>, protocol: Protocol, exit: &Result<i32, CriError>) {
    let text = if protocol.status { Some(remote::status(exit).to_string()) } else { remote::sentence(exit) };
    if let Some(text) = text {
        send(messages, protocol.encode(ERROR, text.as_bytes())).await;
    }
}

async fn pump(
    from: Option<Box<dyn AsyncRead + Send + Unpin>>,
    channel: u8,
    protocol: Protocol,
    messages: &mpsc::Sender<Message>,
) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        let Some(data) = buffer.get(..count).filter(|data| !data.is_empty()) else { return };
        if messages.send(protocol.encode(channel, data)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_carry_their_channel() {
        let binary = Protocol::of("v5.channel.k8s.io");
        assert_eq!(binary.encode(1, b"x"), Message::Binary(Bytes::from_static(b"\x01x")));
        assert_eq!(binary.decode(&Message::Binary(Bytes::from_static(b"\x00y"))), Some((0, b"y".to_vec())));
        let text = Protocol::of("v4.base64.channel.k8s.io");
        assert_eq!(text.encode(2, b"x"), Message::text("2eA=="));
        assert_eq!(text.decode(&Message::text("0eA==")), Some((0, b"x".to_vec())));
        assert_eq!(terminal_size(br#"{"Width":80,"Height":24}"#), Some(TerminalSize { width: 80, height: 24 }));
    }
}
