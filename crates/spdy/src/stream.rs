//! One stream, read and written as bytes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::{Shared, Step};
use crate::headers::Headers;

/// One stream of a connection. Shutting it down ends this direction only; dropping it ends both.
pub struct Stream {
    shared: Arc<Shared>,
    id: u32,
    headers: Headers,
}

impl Stream {
    pub(crate) fn new(shared: Arc<Shared>, id: u32, headers: Headers) -> Self {
        Self { shared, id, headers }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The headers that it was opened with.
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// Ends both directions at once; what is unread at the other end is lost.
    pub fn reset(self) {
        self.shared.lock().reset(self.id);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.lock().abandon(self.id);
        self.shared.written();
        self.shared.read.notify_one();
    }
}

fn polled<T>(step: io::Result<Step<T>>) -> Poll<io::Result<T>> {
    match step {
        Ok(Step::Done(value)) => Poll::Ready(Ok(value)),
        Ok(Step::Wait) => Poll::Pending,
        Err(error) => Poll::Ready(Err(error)),
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let step = self.shared.lock().read(self.id, buf.remaining(), cx.waker());
        polled(step).map_ok(|data| {
            buf.put_slice(&data);
            if !data.is_empty() {
                self.shared.read.notify_one();
                self.shared.written();
            }
        })
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let step = self.shared.lock().write(self.id, buf, cx.waker());
        self.shared.written();
        polled(step)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        polled(self.shared.lock().flush(self.id, cx.waker()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.lock().finish(self.id);
        self.shared.written();
        self.poll_flush(cx)
    }
}
