//! Roles of which one works at a time, in whatever process.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Args};
use client::election::{self, Election, Term};
use tokio_util::sync::CancellationToken;

use crate::cli::duration;
use crate::problem::{During, Problem};

/// Upstream's flags of leader election.
#[derive(Debug, Clone, Args)]
pub(crate) struct LeaderArgs {
    /// Work only while no other process of this role does
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    leader_elect: bool,
    /// How long others wait after the leader's last renewal
    #[arg(long, default_value = "3s", value_parser = duration)]
    leader_elect_lease_duration: Duration,
    /// How long the leader goes on after its last renewal
    #[arg(long, default_value = "2s", value_parser = duration)]
    leader_elect_renew_deadline: Duration,
    /// Time between two attempts to get or keep the lease
    #[arg(long, default_value = "500ms", value_parser = duration)]
    leader_elect_retry_period: Duration,
}

impl LeaderArgs {
    /// The election of a role; none when it works in any case.
    pub(crate) fn election(&self, role: &str) -> Result<Option<Election>, Problem> {
        if !self.leader_elect {
            return Ok(None);
        }
        let (lease, deadline) = (self.leader_elect_lease_duration, self.leader_elect_renew_deadline);
        if lease.subsec_nanos() != 0
            || lease.is_zero()
            || deadline >= lease
            || self.leader_elect_retry_period >= deadline
        {
            return Err(Problem::new(
                "leader election needs whole seconds of --leader-elect-lease-duration, a shorter --leader-elect-renew-deadline, and a --leader-elect-retry-period shorter still",
            ));
        }
        let retry = self.leader_elect_retry_period;
        let host = nix::unistd::gethostname().during("cannot read the host's name")?;
        Ok(Some(Election { lease, deadline, retry, ..Election::new(role, &host.to_string_lossy()) }))
    }
}

/// Makes a client that changes nothing when its process is not the leader any more.
pub(crate) type Guarded = Arc<dyn Fn(kube::Client) -> kube::Client + Send + Sync>;

/// Runs a role: whenever it is elected, or at once when there is no election. `work` gets what guards its clients.
pub(crate) async fn run<F, R>(
    client: kube::Client,
    election: Option<Election>,
    shutdown: CancellationToken,
    mut work: F,
) where
    F: FnMut(Guarded, CancellationToken) -> R,
    R: Future<Output = ()>,
{
    match election {
        None => work(Arc::new(|client| client), shutdown).await,
        Some(election) => {
            let term = |term: Term| {
                let ended = term.ended.clone();
                work(Arc::new(move |client| term.guard(client)), ended)
            };
            election::lead(client, election, shutdown, term).await;
        }
    }
}
