//! The members of the etcd cluster: one connection to each, the one that answered last is asked first.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{
    Certificate, Client, ConnectOptions, Error, Identity, KvClient, ResponseHeader, TlsOptions, WatchClient,
};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Code;

use super::options::{OpenError, Options, Tls};

/// One attempt at one member takes no longer.
const ATTEMPT: Duration = Duration::from_millis(1500);
/// All attempts together take no longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(6);
/// A member that says nothing for this long, twice, is given up.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Pages and bursts of events are larger than gRPC's default of 4 MiB.
const MESSAGE: usize = i32::MAX as usize;

/// Why a call came to nothing.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// A member answered, and asking again would not change the answer.
    Refused(Code, String),
    /// Nobody answered; whether the call had an effect is not known.
    Unreachable(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(_, why) => write!(f, "etcd refuses: {why}"),
            Self::Unreachable(why) => {
                write!(f, "etcd does not answer, more than half of its members have to run and be reachable: {why}")
            }
        }
    }
}

/// Connections to all members. One that turns out to be of another etcd cluster than the first that answered is not used.
pub(super) struct Members {
    clients: Vec<Client>,
    endpoints: Vec<String>,
    preferred: AtomicUsize,
    /// The number of the etcd cluster, once somebody has answered.
    cluster: OnceLock<u64>,
    /// Which have been asked for it since they failed last.
    asked: Vec<AtomicBool>,
}

const NOBODY: &str = "no member is known";
/// Why a member that answers is not used.
const ELSEWHERE: &str = "it is a member of another etcd cluster";

impl Members {
    /// Prepares connections; they are made when they are first used.
    pub(super) async fn connect(options: &Options) -> Result<Self, OpenError> {
        if options.endpoints.is_empty() {
            return Err(OpenError::NoEndpoints);
        }
        let mut clients = Vec::new();
        for endpoint in &options.endpoints {
            let client = Client::connect([endpoint], Some(connect_options(options, endpoint))).await;
            clients.push(client.map_err(|e| OpenError::Endpoint { endpoint: endpoint.clone(), why: e.to_string() })?);
        }
        let asked = clients.iter().map(|_| AtomicBool::new(false)).collect();
        let (endpoints, preferred) = (options.endpoints.clone(), AtomicUsize::new(0));
        Ok(Self { clients, endpoints, preferred, cluster: OnceLock::new(), asked })
    }

    /// Two members that answer and are not of the same etcd cluster, if there are such.
    pub(super) async fn strangers(&self) -> Option<(String, String)> {
        let mut asking = JoinSet::new();
        for (client, endpoint) in self.clients.iter().zip(&self.endpoints) {
            let (client, endpoint) = (client.clone(), endpoint.clone());
            asking.spawn(async move { (tokio::time::timeout(ATTEMPT, cluster_of(client)).await, endpoint) });
        }
        let mut first = None;
        while let Some(answer) = asking.join_next().await {
            let Ok((Ok(Ok(cluster)), endpoint)) = answer else { continue };
            match &first {
                None => first = Some((cluster, endpoint)),
                Some((known, one)) if *known != cluster => return Some((one.clone(), endpoint)),
                Some(_) => {}
            }
        }
        None
    }

    /// Whether a member is one of this cluster; asked once, and again after it has failed: there may be another etcd by then.
    async fn is_own(&self, at: usize, client: &Client) -> Result<bool, Error> {
        let Some(asked) = self.asked.get(at) else { return Ok(false) };
        if asked.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let cluster = cluster_of(client.clone()).await?;
        let own = *self.cluster.get_or_init(|| cluster) == cluster;
        asked.store(own, Ordering::Relaxed);
        Ok(own)
    }

    pub(super) fn endpoints(&self) -> String {
        self.endpoints.join(", ")
    }

    fn preferred(&self) -> Option<(usize, &Client)> {
        let at = self.preferred.load(Ordering::Relaxed) % self.clients.len().max(1);
        self.clients.get(at).map(|client| (at, client))
    }

    /// Another member is asked first from now on, unless somebody has seen to that already.
    fn give_up(&self, failed: usize) {
        if let Some(asked) = self.asked.get(failed) {
            asked.store(false, Ordering::Relaxed);
        }
        let next = (failed + 1) % self.clients.len().max(1);
        if self.preferred.compare_exchange(failed, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            tracing::debug!(member = next, "another etcd member is asked first");
        }
    }

    /// A watch client of the preferred member, and that member's number.
    pub(super) async fn watcher(&self) -> Result<(usize, WatchClient), String> {
        let Some((at, client)) = self.preferred() else { return Err(NOBODY.into()) };
        let why = match tokio::time::timeout(ATTEMPT, self.is_own(at, client)).await {
            Ok(Ok(true)) => return Ok((at, client.watch_client().max_decoding_message_size(MESSAGE))),
            Ok(Ok(false)) => ELSEWHERE.to_owned(),
            Ok(Err(error)) => with_causes(&error),
            Err(_) => no_answer(),
        };
        self.give_up(at);
        Err(why)
    }

    /// The watch at this member came to nothing.
    pub(super) fn watch_failed(&self, at: usize) {
        self.give_up(at);
    }

    /// Calls until a member answers, within bounds. Tells how many attempts it took: after the first, an earlier one
    /// may have had its effect although it was not answered.
    pub(super) async fn call<T, F, R>(&self, call: F) -> Result<(T, usize), Failure>
    where
        F: Fn(KvClient, Client) -> R,
        R: Future<Output = Result<T, Error>>,
    {
        let deadline = Instant::now() + PATIENCE;
        let mut attempts = 0;
        loop {
            let Some((at, client)) = self.preferred() else {
                return Err(Failure::Unreachable(NOBODY.into()));
            };
            attempts += 1;
            let kv = client.kv_client().max_decoding_message_size(MESSAGE);
            let limit = (Instant::now() + ATTEMPT).min(deadline);
            let attempt = async {
                match self.is_own(at, client).await? {
                    true => call(kv, client.clone()).await.map(Some),
                    false => Ok(None),
                }
            };
            let why = match tokio::time::timeout_at(limit, attempt).await {
                Ok(Ok(Some(answer))) => return Ok((answer, attempts)),
                Ok(Ok(None)) => ELSEWHERE.to_owned(),
                Ok(Err(error)) => retryable(error)?,
                Err(_) => no_answer(),
            };
            self.give_up(at);
            let endpoint = self.endpoints.get(at).map_or("", String::as_str);
            let pause = Duration::from_millis(20 * attempts.min(10) as u64);
            if Instant::now() + pause >= deadline {
                return Err(Failure::Unreachable(format!("{endpoint}: {why}")));
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// The number of the etcd cluster that a member belongs to.
async fn cluster_of(mut client: Client) -> Result<u64, Error> {
    let status = client.status().await?;
    Ok(status.header().map_or(0, ResponseHeader::cluster_id))
}

fn no_answer() -> String {
    format!("no answer within {} ms", ATTEMPT.as_millis())
}

/// The reason of an error after which another member may do better.
fn retryable(error: Error) -> Result<String, Failure> {
    let Error::GRpcStatus(status) = &error else { return Ok(with_causes(&error)) };
    match status.code() {
        code @ (Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated) => Err(Failure::Refused(code, status.message().to_owned())),
        _ => Ok(with_causes(&error)),
    }
}

/// What went wrong and why: a broken handshake, say, stands in the causes only.
pub(super) fn with_causes(error: &Error) -> String {
    let (own, cause) = match error {
        Error::GRpcStatus(status) => (status.message().to_owned(), std::error::Error::source(status)),
        other => (other.to_string(), std::error::Error::source(other)),
    };
    let causes = std::iter::successors(cause, |cause| cause.source()).map(ToString::to_string);
    causes.fold(own, |text, cause| if text.contains(&cause) { text } else { format!("{text}: {cause}") })
}

fn connect_options(options: &Options, endpoint: &str) -> ConnectOptions {
    let connect = ConnectOptions::new()
        .with_connect_timeout(ATTEMPT)
        .with_keep_alive(KEEP_ALIVE, KEEP_ALIVE)
        .with_keep_alive_while_idle(true)
        .with_require_leader(true);
    match &options.tls {
        Some(tls) if endpoint.starts_with("https://") => connect.with_tls(tls_options(tls)),
        _ => connect,
    }
}

fn tls_options(tls: &Tls) -> TlsOptions {
    let mut options = TlsOptions::new();
    if let Some(ca) = &tls.ca {
        options = options.ca_certificate(Certificate::from_pem(ca));
    }
    if let Some((certificate, key)) = &tls.identity {
        options = options.identity(Identity::from_pem(certificate, key));
    }
    options
}
