//! Where SPDY is plugged in: many streams over one connection. The kubelet needs no more of it than this.

use std::sync::Arc;

use async_trait::async_trait;

/// One stream with the headers that opened it.
pub struct Stream {
    /// Names (lower case) and values.
    pub headers: Vec<(String, String)>,
    /// Its bytes.
    pub io: Box<dyn cri::Duplex>,
}

impl Stream {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The next stream that the other end opens.
pub type AcceptStream = Option<std::io::Result<Stream>>;

/// A connection that carries streams. Dropping it ends them all.
#[async_trait]
pub trait Streams: Send {
    /// Waits for a stream; none when the connection has ended.
    async fn accept(&mut self) -> AcceptStream;
}

/// Makes streams out of a connection whose other end speaks SPDY/3.1 as client.
pub type StreamsOver = dyn Fn(Box<dyn cri::Duplex>) -> Box<dyn Streams> + Send + Sync;

/// SPDY/3.1 over any connection.
pub fn over_spdy() -> Arc<StreamsOver> {
    Arc::new(|io| Box::new(Spdy(spdy::Connection::new(io, spdy::Role::Server))))
}

struct Spdy(spdy::Connection);

#[async_trait]
impl Streams for Spdy {
    async fn accept(&mut self) -> AcceptStream {
        let stream = self.0.accept().await?;
        Some(Ok(Stream { headers: stream.headers().to_vec(), io: Box::new(stream) }))
    }
}
