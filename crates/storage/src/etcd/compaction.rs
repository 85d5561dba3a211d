//! Dropping old history in etcd, as upstream's API server does: whoever moves the key `compact_rev_key` first in a round
//! does that round's work, so that several API servers, of ours or upstream's, do it once.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Compare, CompareOp, ResponseHeader, Txn, TxnOp, TxnOpResponse};

use super::Shared;
use super::members::Failure;

const KEY: &str = "compact_rev_key";

/// What was seen in the last round.
#[derive(Clone, Copy, Default)]
struct Round {
    /// How often the key was written.
    version: i64,
    /// Where etcd was.
    revision: i64,
}

/// One round every `interval`, for ever.
pub(super) async fn run(shared: Arc<Shared>, interval: Duration) {
    let mut last = Round::default();
    loop {
        tokio::time::sleep(interval).await;
        match round(&shared, last).await {
            Ok(seen) => last = seen,
            Err(failure) => tracing::debug!(%failure, "old history stays in etcd until the next round"),
        }
    }
}

async fn round(shared: &Shared, last: Round) -> Result<Round, Failure> {
    let txn = Txn::new()
        .when([Compare::version(KEY, CompareOp::Equal, last.version)])
        .and_then([TxnOp::put(KEY, last.revision.to_string(), None)])
        .or_else([TxnOp::get(KEY, None)]);
    let (answer, _) = shared
        .members
        .call(|mut kv, _| {
            let txn = txn.clone();
            async move { kv.txn(txn).await }
        })
        .await?;
    let revision = answer.header().map_or(0, ResponseHeader::revision);
    if !answer.succeeded() {
        let version = match answer.op_responses().into_iter().next() {
            Some(TxnOpResponse::Get(got)) => got.kvs().first().map_or(0, etcd_client::KeyValue::version),
            _ => 0,
        };
        return Ok(Round { version, revision });
    }
    if last.revision > 0 {
        let to = last.revision;
        match shared.members.call(|mut kv, _| async move { kv.compact(to, None).await }).await {
            // Already done, by somebody who does not use the key.
            Err(Failure::Refused(tonic::Code::OutOfRange, _)) | Ok(_) => {}
            Err(failure) => return Err(failure),
        }
        tracing::debug!(revision = to, "etcd's history was dropped");
    }
    Ok(Round { version: last.version + 1, revision })
}
