//! The state of a cluster out of etcd and into it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use etcd_client::{
    Compare, CompareOp, DeleteOptions, KeyValue, KvClient, PutOptions, ResponseHeader, Txn, TxnOp, TxnOpResponse,
};

use super::feed::{self, Paged};
use super::keys::{Keys, OFFSET};
use super::members::Failure;
use super::owner::Obstacle;
use super::{Options, Shared};
use crate::snapshot::{GAP, Snapshot, SnapshotError};
use crate::{Entry, Revision};

/// Most keys and bytes of one transaction; etcd's own limits are 128 and 1.5 MiB.
const KEYS: usize = 100;
const BYTES: usize = 1 << 20;

impl From<Obstacle> for SnapshotError {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Refused(refusal) => Self::Open(refusal),
            Obstacle::Failed(failure) => failure.into(),
        }
    }
}

impl From<Failure> for SnapshotError {
    fn from(failure: Failure) -> Self {
        Self::Etcd(failure.to_string())
    }
}

/// Reads everything as of one revision.
///
/// # Errors
/// When etcd does not answer.
pub async fn save(options: &Options) -> Result<Snapshot, SnapshotError> {
    let shared = Shared::connect(options).await?;
    let loaded = shared.load(&BTreeSet::new()).await?;
    let mut ends = HashMap::new();
    let mut entries = Vec::with_capacity(loaded.entries.len());
    for Paged { entry, lease } in loaded.entries {
        if Keys::is_own(entry.key.as_str()) {
            continue;
        }
        let expires = match lease {
            0 => 0,
            lease => end_of(&shared, lease, &mut ends).await?,
        };
        entries.push(Arc::new(Entry { expires, ..copy(&entry) }));
    }
    Ok(Snapshot { entries, revision: loaded.revision })
}

fn copy(entry: &Entry) -> Entry {
    Entry {
        key: entry.key.clone(),
        value: entry.value.clone(),
        created: entry.created,
        modified: entry.modified,
        expires: entry.expires,
        memo: std::sync::OnceLock::new(),
    }
}

/// The wall-clock second at which a lease ends.
async fn end_of(shared: &Shared, lease: i64, known: &mut HashMap<i64, u64>) -> Result<u64, Failure> {
    if let Some(end) = known.get(&lease) {
        return Ok(*end);
    }
    let answer = shared.members.call(|_, mut client| async move { client.lease_time_to_live(lease, None).await }).await;
    let left = match answer {
        Ok((answer, _)) => u64::try_from(answer.ttl()).unwrap_or(0),
        Err(Failure::Refused(..)) => 0,
        Err(failure) => return Err(failure),
    };
    known.insert(lease, now() + left.max(1));
    Ok(now() + left.max(1))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Puts a snapshot into etcd; no API server may run on it. With `replace` it takes the place of what is there.
///
/// # Errors
/// When etcd does not answer, or holds something and nobody said to replace it.
pub async fn restore(options: &Options, snapshot: &Snapshot, replace: bool) -> Result<Revision, SnapshotError> {
    let shared = Shared::connect(options).await?;
    let (present, answered) = present(&shared).await?;
    if present > 0 && !replace {
        return Err(SnapshotError::NotEmpty(present));
    }
    // Until it is whole, no API server starts on it.
    let mut step = Step::first(&shared).await?;
    step.take(&shared, clearing(&shared)).await?;
    for batch in batches(&snapshot.entries) {
        let puts = puts(&shared, batch).await?;
        step.take(&shared, puts).await?;
    }
    let wanted = snapshot.revision.max(answered).0 + GAP;
    let offset = wanted.saturating_sub(u64::try_from(step.0).unwrap_or(0));
    step.write(&shared, &offset.to_string(), Vec::new()).await?;
    Ok(Revision(wanted))
}

/// A restore goes step by step, each a transaction that moves the offset's key, and takes place only on the one before it:
/// an attempt that comes late does no harm. This is etcd's revision of the last one.
struct Step(i64);

impl Step {
    async fn first(shared: &Shared) -> Result<Self, Failure> {
        let key = shared.keys.outer(OFFSET);
        let (answer, _) = shared
            .members
            .call(|mut kv, _| {
                let key = key.clone();
                async move { kv.get(key, None).await }
            })
            .await?;
        Ok(Self(answer.kvs().first().map_or(0, KeyValue::mod_revision)))
    }

    /// One more, and the restore is not at its end yet.
    async fn take(&mut self, shared: &Shared, acts: Vec<TxnOp>) -> Result<(), Failure> {
        self.write(shared, &format!("{} {}", feed::RESTORING, uuid::Uuid::new_v4()), acts).await
    }

    async fn write(&mut self, shared: &Shared, offset: &str, acts: Vec<TxnOp>) -> Result<(), Failure> {
        let key = shared.keys.outer(OFFSET);
        let on_the_last = Compare::mod_revision(key.clone(), CompareOp::Equal, self.0);
        let acts: Vec<TxnOp> = std::iter::once(TxnOp::put(key.clone(), offset, None)).chain(acts).collect();
        let txn = Txn::new().when([on_the_last]).and_then(acts).or_else([TxnOp::get(key, None)]);
        let call = |mut kv: KvClient, _| {
            let txn = txn.clone();
            async move { kv.txn(txn).await }
        };
        let (answer, _) = shared.members.call(call).await?;
        self.0 = match answer.op_responses().into_iter().next() {
            _ if answer.succeeded() => answer.header().map_or(0, ResponseHeader::revision),
            // An earlier attempt did it, and its answer was lost.
            Some(TxnOpResponse::Get(got)) if got.kvs().first().is_some_and(|kv| kv.value() == offset.as_bytes()) => {
                got.kvs().first().map_or(0, KeyValue::mod_revision)
            }
            _ => {
                let why = "another restore into it is under way";
                return Err(Failure::Refused(tonic::Code::Aborted, why.to_owned()));
            }
        };
        Ok(())
    }
}

/// How many keys there are, and a revision above all that were answered.
async fn present(shared: &Shared) -> Result<(usize, Revision), Failure> {
    match feed::load(shared).await {
        Ok(loaded) => {
            let keys = loaded.entries.iter().filter(|p| !Keys::is_own(p.entry.key.as_str())).count();
            Ok((keys, if keys == 0 && loaded.offset == 0 { Revision(0) } else { loaded.revision }))
        }
        // An earlier restore did not finish; what was answered before it, its own snapshot says.
        Err(Failure::Refused(tonic::Code::FailedPrecondition, _)) => Ok((0, Revision(0))),
        Err(failure) => Err(failure),
    }
}

/// Removes everything but the sign that a restore is under way.
fn clearing(shared: &Shared) -> Vec<TxnOp> {
    let (start, end) = shared.keys.range();
    let own = shared.keys.outer(OFFSET);
    let ranges = [(start, own.clone()), (format!("{own}\0"), end)];
    ranges.map(|(start, end)| TxnOp::delete(start, Some(DeleteOptions::new().with_range(end)))).into()
}

fn batches(entries: &[Arc<Entry>]) -> Vec<&[Arc<Entry>]> {
    let (mut batches, mut rest) = (Vec::new(), entries);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(KEYS).take_while(|e| {
            bytes += e.value.len() + e.key.as_str().len();
            bytes <= BYTES
        });
        let (batch, more) = rest.split_at(fits.count().max(1));
        batches.push(batch);
        rest = more;
    }
    batches
}

async fn puts(shared: &Shared, batch: &[Arc<Entry>]) -> Result<Vec<TxnOp>, Failure> {
    let mut puts = Vec::with_capacity(batch.len());
    for entry in batch {
        let lease = match entry.expires {
            0 => None,
            end if end <= now() => continue,
            end => Some(shared.leases.take(&shared.members, end - now()).await?),
        };
        let options = lease.map(|id| PutOptions::new().with_lease(id));
        puts.push(TxnOp::put(shared.keys.outer(entry.key.as_str()), entry.value.to_vec(), options));
    }
    Ok(puts)
}
