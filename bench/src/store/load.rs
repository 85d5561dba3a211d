//! The load: clients that each wait for their write to be durable before the next.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::Engine;
use crate::failure::Failure;

/// How many different keys are written, over and over.
pub(crate) const KEYS: usize = 20_000;
/// Most writes in one transaction.
const BATCH: usize = 512;

type Request = (Put, oneshot::Sender<Result<(), String>>);

/// A key and its new value.
pub(crate) type Put = (String, Bytes);

/// The thread that writes.
pub(crate) struct Writer {
    queue: mpsc::Sender<Request>,
    thread: std::thread::JoinHandle<()>,
    next: Arc<AtomicUsize>,
}

impl Writer {
    pub(crate) fn new(mut engine: Box<dyn Engine>) -> Self {
        let (queue, mut requests) = mpsc::channel::<Request>(4096);
        let thread = std::thread::spawn(move || {
            while let Some(first) = requests.blocking_recv() {
                let (mut puts, mut replies) = (vec![first.0], vec![first.1]);
                while puts.len() < BATCH
                    && let Ok((put, reply)) = requests.try_recv()
                {
                    puts.push(put);
                    replies.push(reply);
                }
                let done = engine.commit(puts).map_err(|e| e.to_string());
                // A client that has given up does not matter to the others.
                replies.into_iter().for_each(|reply| drop(reply.send(done.clone())));
            }
        });
        Self { queue, thread, next: Arc::default() }
    }

    /// Lets the engine finish and close its files.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        drop(self.queue);
        let joined = tokio::task::spawn_blocking(|| self.thread.join()).await;
        joined.map_err(|e| e.to_string())?.map_err(|_| Failure::Other("the writing thread panicked".into()))
    }
}

/// Writes per second at this many clients.
pub(crate) async fn run(writer: &Writer, clients: usize, time: Duration) -> Result<f64, Failure> {
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..clients {
        let (queue, next) = (writer.queue.clone(), writer.next.clone());
        tasks.spawn(async move {
            let mut count = 0_usize;
            while start.elapsed() < time {
                put(&queue, next.fetch_add(1, Ordering::Relaxed)).await?;
                count += 1;
            }
            Ok::<_, Failure>(count)
        });
    }
    let mut total = 0;
    while let Some(count) = tasks.join_next().await {
        total += count.map_err(|e| e.to_string())??;
    }
    Ok(total as f64 / start.elapsed().as_secs_f64())
}

/// Writes every key five times, so that all engines end with the same content and enough churn.
pub(crate) async fn touch_all(writer: &Writer) -> Result<(), Failure> {
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..256 {
        let queue = writer.queue.clone();
        tasks.spawn(async move {
            for number in (client..KEYS * 5).step_by(256) {
                put(&queue, number).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(|e| e.to_string())??;
    }
    Ok(())
}

async fn put(queue: &mpsc::Sender<Request>, number: usize) -> Result<(), Failure> {
    let key = format!("/registry/configmaps/bench/map-{:06}", number % KEYS);
    let (reply, answer) = oneshot::channel();
    let gone = |_| Failure::Other("the writing thread has ended".into());
    queue.send(((key, value(number)), reply)).await.map_err(|_| Failure::Other("no writing thread".into()))?;
    Ok(answer.await.map_err(gone)??)
}

/// 1 KiB that hardly compresses.
fn value(number: usize) -> Bytes {
    let mut state = number as u64 ^ 0x9e37_79b9_7f4a_7c15;
    let words = (0..128).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.collect()
}
