//! Compare-and-swap as one transaction.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, KeyValue, KvClient, PutOptions, ResponseHeader, Txn, TxnOp,
    TxnOpResponse, TxnResponse,
};
use tonic::Code;

use super::feed::{entry, shown};
use super::keys::deletion;
use super::members::Failure;
use super::{Shared, earlier};
use crate::{Entry, Revision, Write, WriteError};

/// Attempts that were answered, but have to be made anew.
const ROUNDS: usize = 16;

/// Does one write. Attempts that were not answered are repeated: the comparison lets at most one of them act, and when it
/// stops the last one, it is looked up whether an earlier one did.
pub(super) async fn write(shared: &Shared, write: Write) -> Result<(Arc<Entry>, Revision), WriteError> {
    let (since, mark) = (shared.tree.current(), earlier::mark());
    let (mut fence, mut in_doubt) = (since, false);
    for _ in 0..ROUNDS {
        let lease = match write.ttl_seconds.filter(|_| write.value.is_some()) {
            Some(seconds) => Some(shared.leases.take(&shared.members, seconds).await.map_err(unavailable)?),
            None => None,
        };
        let txn = transaction(shared, &write, lease, &mark, fence);
        let call = |mut kv: KvClient, _| {
            let txn = txn.clone();
            async move { kv.txn(txn).await }
        };
        let (answer, attempts) = match (shared.members.call(call).await, write.ttl_seconds) {
            (Ok(answered), _) => answered,
            (Err(Failure::Refused(Code::NotFound, _)), Some(seconds)) => {
                in_doubt = true;
                shared.leases.forget(seconds).await;
                continue;
            }
            (Err(failure), _) => return Err(unavailable(failure)),
        };
        let outcome = outcome(shared, &write, &answer);
        let Err(WriteError::Conflict(present)) = &outcome else { return outcome };
        in_doubt |= attempts > 1;
        let now = revision(shared, &answer);
        if in_doubt && let Some(done) = earlier::effect(shared, &write, &mark, since, now).await? {
            return Ok(done);
        }
        if present.is_some() || !is_creation(&write) {
            return outcome;
        }
        fence = now;
    }
    Err(WriteError::Stopped("etcd lets the lease end, or the key is deleted, again and again".into()))
}

fn is_creation(write: &Write) -> bool {
    write.value.is_some() && write.expected.is_none()
}

fn unavailable(failure: Failure) -> WriteError {
    WriteError::Stopped(failure.to_string())
}

/// The comparison and what is done when it holds. An expected revision never comes again. That a key is not there does: an
/// attempt at creating it that comes late, after another attempt and a deletion, would bring it back. So a creation
/// takes place only if no deletion was marked after `fence`.
fn transaction(shared: &Shared, write: &Write, lease: Option<i64>, mark: &str, fence: Revision) -> Txn {
    let (key, marked) = (shared.keys.outer(write.key.as_str()), shared.keys.outer(&deletion(&write.key)));
    let inner = |r: Revision| i64::try_from(r.0.saturating_sub(shared.offset())).unwrap_or(i64::MAX);
    let unchanged = Compare::mod_revision(key.clone(), CompareOp::Equal, write.expected.map_or(0, inner));
    let compare = match (&write.value, write.expected) {
        (_, Some(_)) => vec![unchanged],
        (Some(_), None) => {
            let fenced = Compare::mod_revision(marked.clone(), CompareOp::Less, inner(fence).saturating_add(1));
            vec![unchanged, fenced]
        }
        // What is not there has no value to delete: the comparison cannot hold.
        (None, None) => vec![Compare::mod_revision(key.clone(), CompareOp::Less, 0)],
    };
    let act = match &write.value {
        Some(value) => {
            let options = lease.map(|id| PutOptions::new().with_lease(id));
            let look = GetOptions::new().with_keys_only();
            vec![TxnOp::put(key.clone(), value.to_vec(), options), TxnOp::get(key.clone(), Some(look))]
        }
        None => {
            vec![TxnOp::put(marked, mark, None), TxnOp::delete(key.clone(), Some(DeleteOptions::new().with_prev_key()))]
        }
    };
    Txn::new().when(compare).and_then(act).or_else([TxnOp::get(key, None)])
}

fn revision(shared: &Shared, answer: &TxnResponse) -> Revision {
    shown(answer.header().map_or(0, ResponseHeader::revision), shared.offset())
}

fn outcome(shared: &Shared, write: &Write, answer: &TxnResponse) -> Result<(Arc<Entry>, Revision), WriteError> {
    let (offset, revision) = (shared.offset(), revision(shared, answer));
    let there = |kv: &KeyValue| Arc::new(entry(shared, write.key.as_str().to_owned(), kv.clone(), offset));
    let response = answer.op_responses().into_iter().next_back();
    match (answer.succeeded(), &write.value, response) {
        (true, Some(value), looked) => {
            let created = match looked {
                Some(TxnOpResponse::Get(got)) => got.kvs().first().map_or(0, KeyValue::create_revision),
                _ => 0,
            };
            Ok((written(write, value, shown(created, offset), revision), revision))
        }
        (true, None, Some(TxnOpResponse::Delete(deleted))) => match deleted.prev_kvs().first() {
            Some(kv) => Ok((there(kv), revision)),
            None => Err(WriteError::Conflict(None)),
        },
        (false, _, Some(TxnOpResponse::Get(got))) => Err(WriteError::Conflict(got.kvs().first().map(there))),
        _ => Err(WriteError::Conflict(None)),
    }
}

fn written(write: &Write, value: &Bytes, created: Revision, revision: Revision) -> Arc<Entry> {
    Arc::new(Entry {
        key: write.key.clone(),
        value: value.clone(),
        created,
        modified: revision,
        expires: 0,
        memo: OnceLock::new(),
    })
}
