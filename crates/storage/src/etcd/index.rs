//! Consistent reads: etcd says how far it is, the tree is waited for.
//!
//! Progress requests would do this in one step, but etcd before 3.4.31 and 3.5.13 answers them too early. So a read
//! asks for one key, which every member answers only after a majority has confirmed it, takes the revision from the
//! answer and waits until the watch has passed it. All reads that come while one such question is on its way share the
//! next one. Etcd's revision also moves by keys that are not ours; then the watch stays quiet, and a write of our own
//! makes it move.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::GetOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Shared;
use super::feed::shown;
use super::keys::PROGRESS;
use super::members::{Failure, PATIENCE};
use crate::{ReadError, Revision};

/// A watch that is this late may be quiet: it is made to move.
const QUIET: Duration = Duration::from_millis(25);
/// A watch that is this late is given up for one at another member.
pub(super) const STUCK: Duration = Duration::from_millis(1500);
/// Reads that may wait for the next question.
const QUEUE: usize = 4096;

type Answer = Result<Revision, Failure>;

/// The one who asks.
pub(super) struct Index {
    asks: mpsc::Sender<oneshot::Sender<Answer>>,
}

impl Index {
    /// The handle, and the task that asks.
    pub(super) fn new(shared: Arc<Shared>) -> (Self, impl Future<Output = ()> + Send) {
        let (asks, waiting) = mpsc::channel(QUEUE);
        (Self { asks }, run(shared, waiting))
    }

    /// A revision that is not older than any write acknowledged before this call.
    pub(super) async fn revision(&self) -> Result<Revision, ReadError> {
        let (answer, answered) = oneshot::channel();
        let stopped = || ReadError::Unavailable("the store has stopped".into());
        self.asks.send(answer).await.map_err(|_| stopped())?;
        let revision = answered.await.map_err(|_| stopped())?;
        revision.map_err(|failure| ReadError::Unavailable(failure.to_string()))
    }
}

async fn run(shared: Arc<Shared>, mut waiting: mpsc::Receiver<oneshot::Sender<Answer>>) {
    while let Some(first) = waiting.recv().await {
        let mut all = vec![first];
        while let Ok(more) = waiting.try_recv() {
            all.push(more);
        }
        let answer = ask(&shared).await;
        // That nobody answered for so long is true for those, too, who came meanwhile.
        while answer.is_err()
            && let Ok(more) = waiting.try_recv()
        {
            all.push(more);
        }
        for one in all {
            // Whoever asked may have gone away.
            drop(one.send(answer.clone()));
        }
    }
}

async fn ask(shared: &Shared) -> Answer {
    let seen = shared.tree.current();
    let key = shared.keys.outer(PROGRESS);
    let answer = shared
        .members
        .call(|mut kv, _| {
            let key = key.clone();
            async move { kv.get(key, Some(GetOptions::new().with_count_only())).await }
        })
        .await;
    let revision = answer.map(|(answer, _)| answer.header().map_or(0, etcd_client::ResponseHeader::revision))?;
    let revision = shown(revision, shared.offset());
    if revision < seen {
        let why = format!("etcd went back from revision {seen} to {revision}, was an old backup restored?");
        shared.set_health(Err(why.clone()));
        return Err(Failure::Unreachable(why));
    }
    Ok(revision)
}

/// Waits until the tree has this revision.
pub(super) async fn reach(shared: &Shared, revision: Revision) -> Result<(), ReadError> {
    if shared.tree.current() >= revision {
        return Ok(());
    }
    let started = Instant::now();
    let (mut quiet, mut stuck) = (started + QUIET, started + STUCK);
    let mut reached = shared.reached.subscribe();
    loop {
        let arrived = reached.wait_for(|now| *now >= revision);
        match tokio::time::timeout_at(quiet.min(stuck), arrived).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(_)) => return Err(ReadError::Unavailable("the store has stopped".into())),
            Err(_) => {}
        }
        let now = Instant::now();
        if now > started + PATIENCE {
            return Err(ReadError::Unavailable(format!(
                "the watch at etcd has not reached revision {revision} in time, it is at {}",
                shared.tree.current()
            )));
        }
        if now >= stuck {
            shared.reconnect.notify_one();
            stuck = now + STUCK;
        }
        if now >= quiet {
            kick(shared).await;
            quiet = Instant::now() + QUIET * 8;
        }
    }
}

/// Makes the watch move by a write of a key that nobody reads. One at a time is enough.
async fn kick(shared: &Shared) {
    let Ok(_one) = shared.kicking.try_lock() else { return };
    let key = shared.keys.outer(PROGRESS);
    let written = shared
        .members
        .call(|mut kv, _| {
            let key = key.clone();
            async move { kv.put(key, "", None).await }
        })
        .await;
    if let Err(failure) = written {
        tracing::debug!(%failure, "the watch could not be made to move");
    }
}
