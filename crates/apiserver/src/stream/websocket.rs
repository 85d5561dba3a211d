//! An answer that is told over a WebSocket, as upstream does it for logs: each piece is a message.

use api::ApiError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::body::{self, Answer, Body, BoxError};
use crate::handlers::Incoming;
use crate::server::Server;

const BINARY: &str = "binary.k8s.io";
const BASE64: &str = "base64.binary.k8s.io";

/// What a client wants that asks for a WebSocket.
#[derive(Debug)]
pub(crate) struct Wish {
    accept: HeaderValue,
    /// None when the client named none.
    protocol: Option<&'static str>,
    client: OnUpgrade,
}

/// Takes the wish for a WebSocket out of a request, which is a plain one from then on.
pub(crate) fn take<B>(incoming: &mut Incoming<B>) -> Result<Option<Wish>, ApiError> {
    const OWN: [HeaderName; 6] = [
        header::CONNECTION,
        header::UPGRADE,
        header::SEC_WEBSOCKET_KEY,
        header::SEC_WEBSOCKET_PROTOCOL,
        header::SEC_WEBSOCKET_VERSION,
        header::SEC_WEBSOCKET_EXTENSIONS,
    ];
    let wanted =
        incoming.headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !wanted {
        return Ok(None);
    }
    let Some(client) = incoming.upgrade.take() else { return Ok(None) };
    let key = incoming.headers.get(header::SEC_WEBSOCKET_KEY);
    let key = key.ok_or_else(|| ApiError::bad_request("no Sec-WebSocket-Key"))?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes())).map_err(ApiError::internal)?;
    let protocol = choose(&incoming.headers)?;
    OWN.iter().for_each(|own| drop(incoming.headers.remove(own)));
    Ok(Some(Wish { accept, protocol, client }))
}

fn choose(headers: &HeaderMap) -> Result<Option<&'static str>, ApiError> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let mut offered =
        offered.iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim).peekable();
    if offered.peek().is_none() {
        return Ok(None);
    }
    let known = offered.find_map(|name| [BINARY, BASE64].into_iter().find(|ours| *ours == name));
    let none =
        || ApiError::bad_request(format!("none of the WebSocket protocols asked for is one of {BINARY}, {BASE64}"));
    known.map(Some).ok_or_else(none)
}

/// The answer that switches protocols; `told` follows in messages, until it or the client ends.
pub(crate) fn answer(server: &Server, wish: Wish, told: Answer) -> Answer {
    let Wish { accept, protocol, client } = wish;
    let stop = server.stopping.clone();
    tokio::spawn(async move {
        tokio::select! {
            ended = tell(client, told.into_body(), protocol == Some(BASE64)) => if let Err(error) = ended {
                tracing::debug!(%error, "an answer over a WebSocket ended");
            },
            () = stop.cancelled() => {}
        }
    });
    let mut answer = Answer::new(body::full(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    answer
}

async fn tell(client: OnUpgrade, mut told: Body, as_text: bool) -> Result<(), BoxError> {
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(client.await?), Role::Server, None).await;
    let (mut out, mut from) = socket.split();
    loop {
        tokio::select! {
            frame = told.frame() => match frame {
                Some(frame) => {
                    let Ok(piece) = frame?.into_data() else { continue };
                    let message = match as_text {
                        true => Message::text(STANDARD.encode(&piece)),
                        false => Message::Binary(piece),
                    };
                    out.send(message).await?;
                }
                None => return Ok(out.send(Message::Close(None)).await?),
            },
            said = from.next() => match said {
                None | Some(Err(_) | Ok(Message::Close(_))) => return Ok(()),
                Some(Ok(_)) => {}
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_protocol_is_taken() {
        let chosen = |offered: &str| {
            let mut headers = HeaderMap::new();
            if !offered.is_empty() {
                headers.insert(header::SEC_WEBSOCKET_PROTOCOL, offered.parse().unwrap());
            }
            choose(&headers).map_err(|error| error.code)
        };
        assert_eq!(chosen(""), Ok(None));
        assert_eq!(chosen("x, base64.binary.k8s.io, binary.k8s.io"), Ok(Some(BASE64)));
        assert_eq!(chosen("v4.channel.k8s.io"), Err(400));
    }
}
