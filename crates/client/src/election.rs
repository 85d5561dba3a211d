//! Leader election: of several processes that could do the same work, one does it.
//!
//! The record is upstream's, a `Lease`, written by compare-and-swap. Nobody compares clocks of two machines: a candidate
//! counts from the moment at which it saw the record change, on its own monotonic clock; the leader counts from the
//! moment before it asked for the renewal, and stops a good while before the lease ends. Requests that change
//! something are refused on the leader's own side from then on ([`Term::guard`]), so that a process that was stopped
//! and goes on does not finish what it had begun.

mod guard;
mod record;

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::write::{is_already_exists, is_conflict, is_not_found};
pub use guard::Guard;
use record::{Seen, Step};

/// What is elected for, who stands for it, and the times.
#[derive(Debug, Clone)]
pub struct Election {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// This process, unlike any other.
    pub identity: String,
    /// Others wait so long after the last renewal.
    pub lease: Duration,
    /// The leader gives up so long after the last renewal that it asked for with success.
    pub deadline: Duration,
    /// Time between two attempts.
    pub retry: Duration,
}

impl Election {
    /// An election in kube-system, with an identity made up for this process on `host`.
    pub fn new(name: &str, host: &str) -> Self {
        Self {
            namespace: "kube-system".into(),
            name: name.into(),
            identity: format!("{host}_{:016x}", rand::random::<u64>()),
            lease: Duration::from_secs(3),
            deadline: Duration::from_secs(2),
            retry: Duration::from_millis(500),
        }
    }
}

/// A time as the leader.
#[derive(Clone)]
pub struct Term {
    /// Cancelled when the time is over, and at shutdown.
    pub ended: CancellationToken,
    guard: Guard,
}

impl Term {
    /// A client that changes nothing when this process is the leader no more.
    pub fn guard(&self, client: kube::Client) -> kube::Client {
        self.guard.wrap(client)
    }
}

/// Stands for election until shutdown; runs `work` whenever this process is the leader. `work` has to end soon after its
/// term; if it ends before, the term ends with it and somebody else may lead.
pub async fn lead<F, R>(client: kube::Client, election: Election, shutdown: CancellationToken, mut work: F)
where
    F: FnMut(Term) -> R,
    R: Future<Output = ()>,
{
    let mut candidate = Candidate { api: Api::namespaced(client, &election.namespace), election, seen: None };
    while !shutdown.is_cancelled() {
        let asked = tokio::select! {
            () = shutdown.cancelled() => return,
            asked = candidate.acquire() => asked,
        };
        tracing::info!(lease = candidate.election.name, identity = candidate.election.identity, "leading");
        let guard = Guard::new(asked + candidate.election.deadline);
        let term = Term { ended: shutdown.child_token(), guard: guard.clone() };
        let ended = term.ended.clone();
        let renewing = async {
            tokio::select! {
                () = candidate.keep(&guard) => tracing::warn!("the lease could not be renewed, leading no more"),
                () = ended.cancelled() => {}
            }
            ended.cancel();
        };
        let working = async {
            work(term).await;
            ended.cancel();
        };
        tokio::join!(renewing, working);
        guard.close();
        candidate.resign().await;
    }
}

struct Candidate {
    api: Api<Lease>,
    election: Election,
    seen: Option<Seen>,
}

impl Candidate {
    /// Waits until the lease is ours; returns the moment before it was asked for.
    async fn acquire(&mut self) -> Instant {
        loop {
            let asked = Instant::now();
            match tokio::time::timeout(self.election.deadline, self.attempt()).await {
                Ok(Ok(Step::Ours)) => return asked,
                Ok(Ok(Step::Wait(until))) => {
                    tokio::time::sleep_until(until.min(Instant::now() + self.election.retry)).await;
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, lease = self.election.name, "the lease could not be looked at");
                    tokio::time::sleep(self.election.retry).await;
                }
                Err(_) => {}
            }
        }
    }

    /// Renews until that fails for too long.
    async fn keep(&mut self, guard: &Guard) {
        let pause = self.election.lease / 3;
        let mut next = Instant::now() + pause;
        loop {
            let over = guard.until();
            tokio::time::sleep_until(next.min(over)).await;
            let asked = Instant::now();
            if asked >= over {
                return;
            }
            match tokio::time::timeout_at(over, self.attempt()).await {
                Ok(Ok(Step::Ours)) => {
                    guard.extend(asked + self.election.deadline);
                    next = asked + pause;
                }
                Ok(Ok(Step::Wait(_))) | Err(_) => return,
                Ok(Err(error)) => {
                    tracing::debug!(%error, lease = self.election.name, "the lease was not renewed");
                    next = Instant::now() + self.election.retry / 2;
                }
            }
        }
    }

    /// Looks at the record and takes or renews it if it may.
    async fn attempt(&mut self) -> kube::Result<Step> {
        let current = match self.api.get(&self.election.name).await {
            Err(error) if is_not_found(&error) => None,
            other => Some(other?),
        };
        let now = Instant::now();
        if let Some(lease) = &current {
            self.seen = Some(Seen::after(self.seen.take(), lease, now));
        }
        if let Step::Wait(until) = record::judge(self.seen.as_ref().filter(|_| current.is_some()), &self.election, now)
        {
            return Ok(Step::Wait(until));
        }
        let spec = record::next(current.as_ref(), &self.election, Timestamp::now());
        let written = match current {
            Some(mut lease) => {
                lease.spec = Some(spec);
                self.api.replace(&self.election.name, &PostParams::default(), &lease).await
            }
            None => {
                let name = Some(self.election.name.clone());
                let lease = Lease { metadata: ObjectMeta { name, ..ObjectMeta::default() }, spec: Some(spec) };
                self.api.create(&PostParams::default(), &lease).await
            }
        };
        match written {
            Ok(_) => Ok(Step::Ours),
            // Somebody was faster; the next look tells who.
            Err(error) if is_conflict(&error) || is_already_exists(&error) => Ok(Step::Wait(Instant::now())),
            Err(error) => Err(error),
        }
    }

    /// Gives the lease back, so that nobody has to wait for its end.
    async fn resign(&self) {
        let given = async {
            let mut lease = self.api.get(&self.election.name).await?;
            if record::holder(&lease) != Some(&self.election.identity) {
                return Ok(());
            }
            if let Some(spec) = &mut lease.spec {
                spec.holder_identity = Some(String::new());
                spec.lease_duration_seconds = Some(1);
            }
            self.api.replace(&self.election.name, &PostParams::default(), &lease).await.map(drop)
        };
        match tokio::time::timeout(self.election.deadline, given).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the lease was not given back"),
            Err(_) => tracing::debug!("the lease was not given back in time"),
        }
    }
}

#[cfg(test)]
mod tests;
