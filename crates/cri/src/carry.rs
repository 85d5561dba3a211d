//! Sessions of an engine for clients on HTTP: exec, attach and port-forward over SPDY/3.1 or WebSocket, as `kubectl` speaks
//! them. The kubelet serves them, and so does [`crate::server`].

mod channels;
mod command;
mod forward;
mod remote;
mod streams;
mod websocket;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Response, StatusCode};
use http_body_util::Empty;

pub use command::command;
pub use forward::forward;

type Answer = Response<Empty<Bytes>>;

/// What is to be begun.
#[derive(Debug, Clone)]
pub enum What {
    /// A command.
    Exec(Vec<String>),
    /// The container's own streams.
    Attach,
}

/// A session that is agreed on.
pub struct Begun {
    /// Switches protocols.
    pub answer: Answer,
    /// Carries the session; has to be driven until it ends.
    pub work: BoxFuture<'static, ()>,
}

impl Begun {
    fn new(answer: Answer, work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { answer, work: work.boxed() }
    }
}

/// A request that no session comes of.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// HTTP's status.
    pub status: StatusCode,
    /// In words.
    pub message: String,
}

impl Refused {
    fn bad(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into() }
    }

    fn internal(error: impl std::fmt::Display) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, message: error.to_string() }
    }
}
