//! From etcd to the tree: one load in pages, then one watch over all keys.
//!
//! A watch that breaks goes on where it was, at another member if need be. Only when etcd has dropped the history in
//! between is the tree built anew; its watchers then learn that they have missed something (410).

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{EventType, GetOptions, KeyValue, WatchOptions, WatchResponse};
use tokio::time::Instant;

use super::Shared;
use super::index::STUCK;
use super::keys::OFFSET;
use super::members::{Failure, with_causes};
use crate::{Entry, Event, Key, Revision};

/// Keys of one page.
const PAGE: i64 = 500;
/// A watch has to be confirmed within this time.
const CONFIRM: Duration = Duration::from_secs(3);
/// Longest pause between attempts.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// What the offset begins with while a snapshot is being restored.
pub(super) const RESTORING: &str = "restoring";

/// A key of a page.
pub(super) struct Paged {
    pub(super) entry: Arc<Entry>,
    /// The lease that it goes with; 0 means none.
    pub(super) lease: i64,
}

/// Everything under the prefix at one revision.
pub(super) struct Loaded {
    pub(super) entries: Vec<Paged>,
    pub(super) revision: Revision,
    pub(super) offset: u64,
}

/// Why a watch ended.
enum Ended {
    /// The connection or the member.
    Lost(String),
    /// What comes next is no longer there.
    Compacted,
}

/// Keeps the tree up to date for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut pause = Duration::from_millis(10);
    loop {
        match follow(&shared, &mut pause).await {
            Ended::Lost(why) => {
                tracing::info!(why, "the watch at etcd broke, it goes on elsewhere");
                shared.set_health(Err(why));
            }
            Ended::Compacted => match load(&shared).await {
                Ok(loaded) => {
                    tracing::warn!(revision = %loaded.revision, "etcd has dropped history that was not seen yet");
                    shared.rebuild(loaded);
                    continue;
                }
                Err(failure) => shared.set_health(Err(failure.to_string())),
            },
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

/// Reads all keys, page by page, as of the first page.
pub(super) async fn load(shared: &Shared) -> Result<Loaded, Failure> {
    loop {
        let offset = offset(shared).await?;
        match load_at(shared, offset).await {
            // The history went away, or the offset was changed, between two pages.
            Ok(None) | Err(Failure::Refused(tonic::Code::OutOfRange, _)) => {}
            Ok(Some(loaded)) => return Ok(loaded),
            Err(failure) => return Err(failure),
        }
    }
}

/// How far shown revisions are above etcd's.
async fn offset(shared: &Shared) -> Result<u64, Failure> {
    let key = shared.keys.outer(OFFSET);
    let (answer, _) = shared
        .members
        .call(|mut kv, _| {
            let key = key.clone();
            async move { kv.get(key, None).await }
        })
        .await?;
    answer.kvs().first().map_or(Ok(0), |kv| parse_offset(kv.value()))
}

fn parse_offset(value: &[u8]) -> Result<u64, Failure> {
    let why = || {
        let why = if value.starts_with(RESTORING.as_bytes()) {
            "a snapshot is being restored into it; if that was cut short, restore it again"
        } else {
            "its revision offset is not a number"
        };
        Failure::Refused(tonic::Code::FailedPrecondition, why.to_owned())
    };
    std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok()).ok_or_else(why)
}

/// None when the offset is no longer this one.
async fn load_at(shared: &Shared, offset: u64) -> Result<Option<Loaded>, Failure> {
    let (mut start, end) = shared.keys.range();
    let (mut entries, mut revision) = (Vec::new(), 0);
    loop {
        let options = GetOptions::new().with_range(end.clone()).with_limit(PAGE).with_revision(revision);
        let (mut page, _) = shared
            .members
            .call(|mut kv, _| {
                let (start, options) = (start.clone(), options.clone());
                async move { kv.get(start, Some(options)).await }
            })
            .await?;
        if revision == 0 {
            revision = page.header().map_or(0, etcd_client::ResponseHeader::revision);
        }
        let kvs = page.take_kvs();
        if let Some(last) = kvs.last() {
            start = format!("{}\0", last.key_str().unwrap_or_default());
        }
        for kv in kvs {
            let Some(key) = shared.keys.inner(kv.key()) else { continue };
            if key == OFFSET && parse_offset(kv.value())? != offset {
                return Ok(None);
            }
            let lease = kv.lease();
            entries.push(Paged { entry: Arc::new(entry(shared, key, kv, offset)), lease });
        }
        if !page.more() {
            return Ok(Some(Loaded { entries, revision: shown(revision, offset), offset }));
        }
    }
}

/// The revision that is shown for one of etcd's.
pub(super) fn shown(revision: i64, offset: u64) -> Revision {
    Revision(u64::try_from(revision).unwrap_or(0) + offset)
}

/// An entry of the store from etcd's.
pub(super) fn entry(shared: &Shared, key: String, kv: KeyValue, offset: u64) -> Entry {
    let (created, modified) = (shown(kv.create_revision(), offset), shown(kv.mod_revision(), offset));
    let (_, value) = kv.into_key_value();
    Entry {
        key: key.as_str().into(),
        value: (shared.decode)(Bytes::from(value)),
        created,
        modified,
        expires: 0,
        memo: OnceLock::new(),
    }
}

async fn follow(shared: &Shared, pause: &mut Duration) -> Ended {
    let Some((at, mut client)) = shared.members.watcher() else { return Ended::Lost("no member is known".into()) };
    let lost = |why: String| {
        shared.members.watch_failed(at);
        Ended::Lost(why)
    };
    let offset = shared.offset();
    let next = i64::try_from(shared.tree.current().0.saturating_sub(offset) + 1).unwrap_or(i64::MAX);
    let (start, end) = shared.keys.range();
    let options = WatchOptions::new().with_range(end).with_start_revision(next);
    let mut stream = match tokio::time::timeout(CONFIRM, client.watch(start, Some(options))).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return lost(with_causes(&error)),
        Err(_) => return lost("the watch was not confirmed in time".into()),
    };
    let mut last = Instant::now();
    loop {
        let message = tokio::select! {
            message = stream.message() => message,
            // Who complains may have waited for the one before.
            () = shared.reconnect.notified() => match last.elapsed() < STUCK {
                true => continue,
                false => return lost("the watch does not keep up".into()),
            },
        };
        last = Instant::now();
        match message {
            Ok(Some(response)) if response.compact_revision() > 0 => return Ended::Compacted,
            Ok(Some(response)) if response.canceled() => return lost(response.cancel_reason().to_owned()),
            Ok(Some(response)) => {
                *pause = Duration::from_millis(10);
                shared.set_health(Ok(()));
                if !apply(shared, &response, offset) {
                    return Ended::Compacted;
                }
            }
            Ok(None) => return lost("the member closed the watch".into()),
            Err(error) => return lost(with_causes(&error)),
        }
    }
}

/// Publishes events; false when revisions are shown differently from now on.
fn apply(shared: &Shared, response: &WatchResponse, offset: u64) -> bool {
    let mut staged: HashMap<Key, Option<Arc<Entry>>> = HashMap::new();
    let mut events = Vec::with_capacity(response.events().len());
    for event in response.events() {
        let Some(kv) = event.kv() else { continue };
        let Some(key) = shared.keys.inner(kv.key()) else { continue };
        if key == OFFSET {
            return false;
        }
        let revision = shown(kv.mod_revision(), offset);
        let key = Key::from(key.as_str());
        let before = staged.get(&key).cloned().unwrap_or_else(|| shared.tree.get(key.as_str()));
        let now = match event.event_type() {
            EventType::Put => Some(Arc::new(entry(shared, key.as_str().to_owned(), kv.clone(), offset))),
            EventType::Delete => None,
        };
        staged.insert(key, now.clone());
        events.push(Event { revision, now, before });
    }
    shared.publish(events);
    true
}
