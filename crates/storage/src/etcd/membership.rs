//! Who is a member of an etcd cluster: looked at, added, taken out.

use std::future::Future;
use std::time::Duration;

use etcd_client::{ClusterClient, Error, MemberAddOptions};
use tokio::time::Instant;
use tonic::Code;

use super::members::{Failure, Members};
use super::options::{OpenError, Options};

/// Time between two questions whether a new member has caught up.
const ASK: Duration = Duration::from_millis(200);

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: u64,
    /// Its name; empty until it has run once.
    pub name: String,
    /// Where its peers reach it.
    pub peer: String,
    /// Reads along and has no vote yet.
    pub learner: bool,
}

/// Why nothing came of it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct MembershipError(String);

impl From<Failure> for MembershipError {
    fn from(failure: Failure) -> Self {
        Self(failure.to_string())
    }
}

/// The members of a cluster, asked through those that are known.
pub struct Membership {
    members: Members,
}

impl Membership {
    /// Prepares connections; they are made when they are first used.
    ///
    /// # Errors
    /// When an address or certificate cannot be used.
    pub async fn connect(options: &Options) -> Result<Self, OpenError> {
        Ok(Self { members: Members::connect(options).await? })
    }

    /// All members.
    ///
    /// # Errors
    /// When no member answers.
    pub async fn list(&self) -> Result<Vec<Member>, MembershipError> {
        let list = self.call(|mut cluster| async move { cluster.member_list().await }).await?;
        Ok(list.members().iter().map(member).collect())
    }

    /// Adds a member that is reached here and is to have a vote once it has caught up. Only one can be on its way at a time.
    ///
    /// # Errors
    /// When no member answers, or they refuse.
    pub async fn add(&self, peer: &str) -> Result<(), MembershipError> {
        let learner = || Some(MemberAddOptions::new().with_is_learner());
        self.call(|mut cluster| async move { cluster.member_add(vec![peer.to_owned()], learner()).await }).await?;
        Ok(())
    }

    /// Waits until the member has caught up and has its vote.
    ///
    /// # Errors
    /// When that takes too long.
    pub async fn promote(&self, peer: &str, patience: Duration) -> Result<(), MembershipError> {
        let deadline = Instant::now() + patience;
        loop {
            let why = match self.list().await {
                Ok(list) => match list.iter().find(|member| member.peer == peer) {
                    None => return Err(MembershipError(format!("{peer} is no member of this etcd"))),
                    Some(member) if !member.learner => return Ok(()),
                    Some(member) => {
                        let id = member.id;
                        let promoted = self.call(|mut cluster| async move { cluster.member_promote(id).await }).await;
                        promoted.err().map(|failure| failure.to_string())
                    }
                },
                Err(error) => Some(error.0),
            };
            if let Some(why) = why.filter(|_| Instant::now() >= deadline) {
                return Err(MembershipError(format!("the new member does not catch up: {why}")));
            }
            tokio::time::sleep(ASK).await;
        }
    }

    /// Takes a member out; one that is none any more is no error.
    ///
    /// # Errors
    /// When no member answers, or they refuse: the rest would not be enough.
    pub async fn remove(&self, id: u64) -> Result<(), MembershipError> {
        match self.call(|mut cluster| async move { cluster.member_remove(id).await }).await {
            Ok(_) | Err(Failure::Refused(Code::NotFound, _)) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn call<T, F, R>(&self, call: F) -> Result<T, Failure>
    where
        F: Fn(ClusterClient) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        self.members.call(|_, client| call(client.cluster_client())).await.map(|(answer, _)| answer)
    }
}

fn member(member: &etcd_client::Member) -> Member {
    Member {
        id: member.id(),
        name: member.name().to_owned(),
        peer: member.peer_urls().first().cloned().unwrap_or_default(),
        learner: member.is_learner(),
    }
}
