//! Compare-and-swap as one transaction.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, KeyValue, PutOptions, ResponseHeader, Txn, TxnOp, TxnOpResponse,
    TxnResponse,
};
use tonic::Code;

use super::Shared;
use super::feed::{entry, shown};
use super::members::Failure;
use crate::{Entry, Revision, Write, WriteError};

/// Does one write. Attempts that were not answered are repeated: the comparison lets at most one of them act.
pub(super) async fn write(shared: &Shared, write: Write) -> Result<(Arc<Entry>, Revision), WriteError> {
    for _ in 0..2 {
        let lease = match write.ttl_seconds.filter(|_| write.value.is_some()) {
            Some(seconds) => Some(shared.leases.take(&shared.members, seconds).await.map_err(unavailable)?),
            None => None,
        };
        let txn = transaction(shared, &write, lease);
        let answer = shared
            .members
            .call(|mut kv, _| {
                let txn = txn.clone();
                async move { kv.txn(txn).await }
            })
            .await;
        match (answer, write.ttl_seconds) {
            (Ok((answer, attempts)), _) => return outcome(shared, &write, &answer, attempts),
            (Err(Failure::Refused(Code::NotFound, _)), Some(seconds)) => shared.leases.forget(seconds).await,
            (Err(failure), _) => return Err(unavailable(failure)),
        }
    }
    Err(WriteError::Stopped("etcd grants leases that it does not know".into()))
}

fn unavailable(failure: Failure) -> WriteError {
    WriteError::Stopped(failure.to_string())
}

fn transaction(shared: &Shared, write: &Write, lease: Option<i64>) -> Txn {
    let key = shared.keys.outer(write.key.as_str());
    let expected = write.expected.map_or(0, |r| i64::try_from(r.0.saturating_sub(shared.offset())).unwrap_or(i64::MAX));
    let act = match &write.value {
        Some(value) => {
            let options = lease.map(|id| PutOptions::new().with_lease(id));
            let look = GetOptions::new().with_keys_only();
            vec![TxnOp::put(key.clone(), value.to_vec(), options), TxnOp::get(key.clone(), Some(look))]
        }
        None => vec![TxnOp::delete(key.clone(), Some(DeleteOptions::new().with_prev_key()))],
    };
    // What is not there has no value to delete: the comparison cannot hold.
    let compare = match (&write.value, expected) {
        (None, 0) => Compare::mod_revision(key.clone(), CompareOp::Less, 0),
        (_, expected) => Compare::mod_revision(key.clone(), CompareOp::Equal, expected),
    };
    Txn::new().when([compare]).and_then(act).or_else([TxnOp::get(key, None)])
}

fn outcome(
    shared: &Shared,
    write: &Write,
    answer: &TxnResponse,
    attempts: usize,
) -> Result<(Arc<Entry>, Revision), WriteError> {
    let offset = shared.offset();
    let revision = shown(answer.header().map_or(0, ResponseHeader::revision), offset);
    let there = |kv: &KeyValue| Arc::new(entry(shared, write.key.as_str().to_owned(), kv.clone(), offset));
    let response = answer.op_responses().into_iter().next_back();
    if answer.succeeded() {
        return match (&write.value, response) {
            (Some(value), looked) => {
                let created = match looked {
                    Some(TxnOpResponse::Get(got)) => got.kvs().first().map_or(0, KeyValue::create_revision),
                    _ => 0,
                };
                Ok((written(write, value, shown(created, offset), revision), revision))
            }
            (None, Some(TxnOpResponse::Delete(deleted))) => match deleted.prev_kvs().first() {
                Some(kv) => Ok((there(kv), revision)),
                None => Err(WriteError::Conflict(None)),
            },
            (None, _) => Err(WriteError::Conflict(None)),
        };
    }
    let present = match response {
        Some(TxnOpResponse::Get(got)) => got.kvs().first().map(there),
        _ => None,
    };
    match (present, &write.value) {
        // An earlier attempt did it, and its answer was lost.
        (Some(entry), Some(value)) if attempts > 1 && entry.value == *value => {
            let revision = entry.modified;
            Ok((entry, revision))
        }
        (present, _) => Err(WriteError::Conflict(present)),
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
