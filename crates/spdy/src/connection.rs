//! A connection: who may send how much, and the task that moves bytes.

#[cfg(test)]
mod tests;

mod run;
mod state;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::headers::Headers;
use crate::stream::Stream;
pub(crate) use state::{Shared, Step};

/// Which end this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one that has opened the connection.
    Client,
    /// The other.
    Server,
}

/// One end of a connection. When it is dropped all its streams end: what was written goes out first, for a bounded time.
pub struct Connection {
    shared: Arc<Shared>,
}

impl Connection {
    /// Speaks SPDY over `io`, in a task that ends with the connection.
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, role: Role) -> Self {
        let shared = Arc::new(Shared::new(role));
        tokio::spawn(run::run(io, Arc::clone(&shared)));
        Self { shared }
    }

    /// The next stream that the other end opens, taken; none when the connection has ended.
    pub async fn accept(&mut self) -> Option<Stream> {
        let found = poll_fn(|cx| {
            let mut state = self.shared.lock();
            match state.accept.pop_front() {
                Some(accepted) => Poll::Ready(Some(accepted)),
                None if state.ended => Poll::Ready(None),
                None => {
                    state.accept_waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        });
        let (id, headers) = found.await?;
        Some(Stream::new(Arc::clone(&self.shared), id, headers))
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// When the connection has ended, or the other end takes no more streams.
    pub fn open(&self, headers: Headers) -> io::Result<Stream> {
        let id = self.shared.lock().open(&headers)?;
        self.shared.written();
        Ok(Stream::new(Arc::clone(&self.shared), id, headers))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.closing.cancel();
    }
}
