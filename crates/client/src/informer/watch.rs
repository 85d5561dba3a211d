//! The loop that feeds a store from a watch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::Resource;
use kube::runtime::watcher::{Error, Event};
use rand::Rng;
use tokio_util::sync::CancellationToken;

use super::store::{Entry, Store};
use crate::ObjectKey;

const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(5);

/// Runs until cancelled; failures are waited out and tried again.
pub(super) async fn run<K, P>(
    events: impl Stream<Item = Result<Event<K>, Error>> + Send,
    project: fn(K) -> P,
    store: Arc<Store<P>>,
    stop: CancellationToken,
) where
    K: Resource + Send,
    P: Send + Sync + 'static,
{
    let mut events = std::pin::pin!(events);
    let mut initial = BTreeMap::new();
    let mut failures: u32 = 0;
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        match event {
            None => return,
            Some(Ok(event)) => {
                failures = 0;
                take(event, project, &store, &mut initial);
            }
            Some(Err(error)) => {
                report(&error, failures);
                let pause = backoff(failures, rand::rng().random_range(0.5..1.0));
                failures = failures.saturating_add(1);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
}

fn take<K: Resource, P: Send + Sync + 'static>(
    event: Event<K>,
    project: fn(K) -> P,
    store: &Store<P>,
    initial: &mut BTreeMap<ObjectKey, Entry<P>>,
) {
    match event {
        Event::Init => initial.clear(),
        Event::InitApply(object) => {
            let (key, entry) = entry(object, project);
            initial.insert(key, entry);
        }
        Event::InitDone => store.replace(std::mem::take(initial)),
        Event::Apply(object) => {
            let (key, entry) = entry(object, project);
            store.apply(key, entry);
        }
        Event::Delete(object) => store.delete(ObjectKey::of(object.meta())),
    }
}

fn entry<K: Resource, P>(object: K, project: fn(K) -> P) -> (ObjectKey, Entry<P>) {
    let meta = object.meta();
    let key = ObjectKey::of(meta);
    let version = meta.resource_version.clone().unwrap_or_default();
    (key, Entry { version, value: Arc::new(project(object)) })
}

fn report(error: &Error, failures: u32) {
    // A watch that ended or expired is daily business; so is a server that is just starting.
    if failures < 3 {
        tracing::debug!(%error, "watch interrupted");
    } else {
        tracing::warn!(%error, failures, "watch interrupted");
    }
}

/// 50 ms doubled up to 5 s; `jitter` of 0.5 to 1 spreads those who failed together.
pub(super) fn backoff(failures: u32, jitter: f64) -> Duration {
    let factor = 2_u32.saturating_pow(failures.min(16));
    SHORTEST.saturating_mul(factor).min(LONGEST).mul_f64(jitter)
}
