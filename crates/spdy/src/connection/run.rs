//! The task of a connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use super::state::Shared;
use crate::frame::Decoder;

/// After the end what was written has this long to go out.
const LAST_WORDS: Duration = Duration::from_secs(5);
const READ: usize = 32 * 1024;

pub(super) async fn run(io: impl AsyncRead + AsyncWrite + Send + Unpin, shared: Arc<Shared>) {
    let (mut from, mut to) = tokio::io::split(io);
    let mut unsent = Unsent::default();
    let result = tokio::select! {
        result = read(&mut from, &shared) => result,
        result = unsent.write(&mut to, &shared) => result,
        () = shared.closing.cancelled() => Ok(()),
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection of streams broke");
    }
    {
        let mut state = shared.lock();
        state.end();
        state.go_away();
    }
    let last_words = async {
        unsent.drain(&mut to, &shared).await?;
        to.shutdown().await
    };
    match tokio::time::timeout(LAST_WORDS, last_words).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::trace!(%error, "the other end is gone"),
        Err(_) => tracing::debug!("the other end did not take what was left"),
    }
}

async fn read(from: &mut ReadHalf<impl AsyncRead>, shared: &Shared) -> io::Result<()> {
    let (mut decoder, mut input) = (Decoder::default(), BytesMut::new());
    loop {
        loop {
            let frame = decoder.next(&mut input).map_err(io::Error::other)?;
            let Some(frame) = frame else { break };
            shared.lock().receive(frame).map_err(io::Error::other)?;
            shared.written();
            // `read` keeps one notice for whoever comes late, so none is missed between the look and the wait.
            while !shared.lock().has_room() {
                shared.read.notified().await;
            }
        }
        input.reserve(READ);
        if from.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
    }
}

/// What is on its way out. Kept outside of the loop, which may be cut off anywhere.
#[derive(Default)]
struct Unsent {
    bytes: BytesMut,
}

impl Unsent {
    async fn write(&mut self, to: &mut WriteHalf<impl AsyncWrite>, shared: &Shared) -> io::Result<()> {
        loop {
            self.drain(to, shared).await?;
            shared.unsent.notified().await;
        }
    }

    async fn drain(&mut self, to: &mut WriteHalf<impl AsyncWrite>, shared: &Shared) -> io::Result<()> {
        loop {
            if self.bytes.is_empty() {
                self.bytes = std::mem::take(&mut shared.lock().output);
            }
            if self.bytes.is_empty() {
                return Ok(());
            }
            let whole = self.bytes.len();
            while !self.bytes.is_empty() {
                to.write_buf(&mut self.bytes).await?;
            }
            to.flush().await?;
            shared.lock().gone_out(whole);
        }
    }
}
