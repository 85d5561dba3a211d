//! Whose state is in etcd, and of which format: what is another cluster's, or a newer version's, is left alone.

use std::collections::BTreeSet;

use etcd_client::{Compare, CompareOp, Txn, TxnOp};
use serde::{Deserialize, Serialize};

use super::Shared;
use super::keys::OWNER;
use super::members::Failure;
use super::options::OpenError;

/// Format of what is kept in etcd.
const FORMAT: u32 = 1;
/// The oldest version of etcd that is known to do; all of version 3 that are newer do, too.
const OLDEST: (u32, u32) = (3, 4);

/// What is written about the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    format: u32,
    /// The names of its cluster, all that it ever had.
    #[serde(default)]
    cluster: BTreeSet<String>,
}

/// What is to be done about an owner that is written there, or none.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Fine,
    Claim(Owner),
    Newer(u32),
    Foreign,
}

/// Judges for a cluster with these names. One that it has already is enough: the others are added.
fn judge(written: Option<&Owner>, names: &BTreeSet<String>) -> Verdict {
    let known = written.map(|owner| owner.cluster.clone()).unwrap_or_default();
    match written {
        Some(owner) if owner.format > FORMAT => Verdict::Newer(owner.format),
        _ if names.is_subset(&known) => Verdict::Fine,
        Some(_) if !known.is_empty() && names.is_disjoint(&known) => Verdict::Foreign,
        _ => Verdict::Claim(Owner { format: FORMAT, cluster: names.union(&known).cloned().collect() }),
    }
}

/// Why the state is not used.
pub(super) enum Obstacle {
    /// It is not this cluster's, or not known.
    Refused(OpenError),
    /// Etcd did not do what was asked.
    Failed(Failure),
}

impl From<Failure> for Obstacle {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Refuses an etcd whose version is not known, and a state that is not this cluster's. State without an owner, upstream's for
/// example, becomes this cluster's. Without names, any cluster's is good.
pub(super) async fn check(shared: &Shared, names: &BTreeSet<String>) -> Result<(), Obstacle> {
    let (status, _) = shared.members.call(|_, mut client| async move { client.status().await }).await?;
    let endpoints = shared.members.endpoints();
    if !is_known(status.version()) {
        return Err(Obstacle::Refused(OpenError::Version { endpoints, version: status.version().to_owned() }));
    }
    if let Some((one, other)) = shared.members.strangers().await {
        return Err(Obstacle::Refused(OpenError::Strangers { one, other }));
    }
    let key = shared.keys.outer(OWNER);
    loop {
        let (written, revision) = read(shared, &key).await?;
        let refusal = match judge(written.as_ref(), names) {
            Verdict::Fine => return Ok(()),
            // Somebody else may have been quicker: then it is looked at again.
            Verdict::Claim(owner) => match claim(shared, &key, revision, &owner).await? {
                true => return Ok(()),
                false => continue,
            },
            Verdict::Newer(format) => OpenError::Newer { endpoints, format, known: FORMAT },
            Verdict::Foreign => OpenError::Foreign { endpoints, key },
        };
        return Err(Obstacle::Refused(refusal));
    }
}

fn is_known(version: &str) -> bool {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().ok());
    let (major, minor) = (numbers.next().flatten(), numbers.next().flatten());
    major == Some(OLDEST.0) && minor.is_some_and(|minor| minor >= OLDEST.1)
}

/// The owner that is written there, and etcd's revision of that.
async fn read(shared: &Shared, key: &str) -> Result<(Option<Owner>, i64), Failure> {
    let (answer, _) = shared
        .members
        .call(|mut kv, _| {
            let key = key.to_owned();
            async move { kv.get(key, None).await }
        })
        .await?;
    let Some(kv) = answer.kvs().first() else { return Ok((None, 0)) };
    // What cannot be read was not written by this version.
    let unknown = Owner { format: FORMAT + 1, cluster: BTreeSet::new() };
    Ok((Some(serde_json::from_slice(kv.value()).unwrap_or(unknown)), kv.mod_revision()))
}

/// Writes the owner, if there is still that revision of it.
async fn claim(shared: &Shared, key: &str, revision: i64, owner: &Owner) -> Result<bool, Failure> {
    let value = serde_json::to_vec(owner).unwrap_or_default();
    let still = Compare::mod_revision(key, CompareOp::Equal, revision);
    let txn = Txn::new().when([still]).and_then([TxnOp::put(key, value, None)]);
    let (answer, _) = shared
        .members
        .call(|mut kv, _| {
            let txn = txn.clone();
            async move { kv.txn(txn).await }
        })
        .await?;
    Ok(answer.succeeded())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> BTreeSet<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn only_a_clusters_own_state_of_a_known_format_is_used() {
        let owner = |format, cluster| Owner { format, cluster: names(cluster) };
        let judge = |written: Option<Owner>, own| super::judge(written.as_ref(), &names(own));
        assert_eq!(judge(None, "a"), Verdict::Claim(owner(1, "a")));
        assert_eq!(judge(Some(owner(1, "a")), "a"), Verdict::Fine);
        assert_eq!(judge(Some(owner(1, "a")), "a b"), Verdict::Claim(owner(1, "a b")), "it has a new name");
        assert_eq!(judge(Some(owner(1, "a b")), "b"), Verdict::Fine, "the old one is said no more");
        assert_eq!(judge(Some(owner(1, "a b")), "c"), Verdict::Foreign);
        assert_eq!(judge(Some(owner(1, "a")), ""), Verdict::Fine);
        assert_eq!(judge(None, ""), Verdict::Fine);
        assert_eq!(judge(Some(owner(2, "a")), "a"), Verdict::Newer(2));
        assert_eq!(judge(Some(owner(2, "a")), ""), Verdict::Newer(2));
    }

    #[test]
    fn versions_of_etcd_that_are_not_known_are_refused() {
        assert!(["3.4.23", "3.5.0", "3.6.1", "3.10.0-rc.1"].into_iter().all(is_known));
        assert!(!["2.3.8", "3.3.27", "4.0.0", "", "three"].into_iter().any(is_known));
    }
}
