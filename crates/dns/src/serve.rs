//! Questions in, answers out.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use client::Informers;
use hickory_proto::op::{Edns, Header, HeaderCounts, Message, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use hickory_server::Server;
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;

use crate::answers::{self, Reply, Verdict};
use crate::index::{ClusterIndex, Index};
use crate::search;
use crate::upstream::{self, PAYLOAD, Servers, Upstream};
use crate::zone::Zone;

/// A TCP connection on which nothing is asked for this long ends.
const IDLE: Duration = Duration::from_secs(5);
/// Right after the start a question waits this long for the first full list.
const FIRST_LIST: Duration = Duration::from_secs(3);
/// Answers that wait to be read on one TCP connection.
const RESPONSES: usize = 32;
/// Aliases in a row that are followed.
const ALIASES: usize = 8;

/// How the resolver is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it answers, by UDP and TCP.
    pub listen: Vec<SocketAddr>,
    /// The cluster domain, as `cluster.local`.
    pub cluster_domain: String,
    /// Name servers for everything else; empty means those of `resolv_conf`.
    pub upstreams: Vec<SocketAddr>,
    /// The node's own resolver configuration.
    pub resolv_conf: PathBuf,
    /// Name of this node: its pods have their search paths walked here, in one go. None leaves that to them.
    pub node_name: Option<String>,
}

/// Why it cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The cluster domain is no name.
    #[error("'{0}' is no domain name")]
    Domain(String),
    /// An address cannot be used.
    #[error("cannot answer DNS at {address}: {cause}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        cause: std::io::Error,
    },
}

/// The resolver of one node.
pub struct Dns {
    server: Server<Handler<ClusterIndex>>,
}

impl Dns {
    /// Takes its addresses; answers from now on.
    pub async fn build(config: Config, client: kube::Client) -> Result<Self, DnsError> {
        let wrong = || DnsError::Domain(config.cluster_domain.clone());
        let mut origin = Name::from_ascii(&config.cluster_domain).map_err(|_| wrong())?.to_lowercase();
        origin.set_fqdn(true);
        if origin.is_root() {
            return Err(wrong());
        }
        let mut sockets = Vec::new();
        let mut bound = Vec::new();
        for address in config.listen {
            let failed = |cause| DnsError::Listen { address, cause };
            let udp = UdpSocket::bind(address).await.map_err(failed)?;
            let address = udp.local_addr().map_err(failed)?;
            let tcp = TcpListener::bind(address).await.map_err(failed)?;
            sockets.push((udp, tcp));
            bound.push(address);
        }
        let servers = match config.upstreams.as_slice() {
            [] => Servers::ResolvConf(config.resolv_conf),
            given => Servers::Fixed(given.to_vec()),
        };
        // Grows with every start, as the serial number of a zone must.
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let serial = u32::try_from(now).unwrap_or(u32::MAX);
        let zone = Zone { origin, addresses: bound.iter().map(SocketAddr::ip).collect(), serial };
        let upstream = Upstream::new(servers, bound);
        let index = ClusterIndex::new(&Informers::new(client), config.node_name.as_deref());
        let mut server = Server::new(Handler { zone, index, upstream, turn: AtomicUsize::new(0) });
        for (udp, tcp) in sockets {
            server.register_socket(udp);
            server.register_listener(tcp, IDLE, RESPONSES);
        }
        Ok(Self { server })
    }

    /// Answers until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        tokio::select! {
            ended = self.server.block_until_done() => tracing::error!(?ended, "the resolver's sockets failed"),
            () = shutdown.cancelled() => if let Err(error) = self.server.shutdown_gracefully().await {
                tracing::warn!(%error, "the resolver did not stop cleanly");
            },
        }
    }
}

struct Handler<I> {
    zone: Zone,
    index: I,
    upstream: Upstream,
    turn: AtomicUsize,
}

/// What goes out, before it is framed.
struct Outcome {
    authoritative: bool,
    reply: Reply,
}

impl Outcome {
    fn code(code: ResponseCode) -> Self {
        Self { authoritative: false, reply: Reply { code, ..Reply::default() } }
    }

    fn of(message: &Message) -> Self {
        let reply = Reply {
            code: message.metadata.response_code,
            answers: message.answers.clone(),
            authorities: message.authorities.clone(),
            additionals: message.additionals.clone(),
            follow: None,
        };
        Self { authoritative: false, reply }
    }
}

impl<I: Index + Sync> Handler<I> {
    async fn outcome(&self, request: &Request) -> Outcome {
        if request.metadata.op_code != OpCode::Query {
            return Outcome::code(ResponseCode::NotImp);
        }
        if request.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
            return Outcome::code(ResponseCode::BADVERS);
        }
        let [query] = request.queries.queries() else { return Outcome::code(ResponseCode::FormErr) };
        let (query, class) = (query.original(), query.query_class());
        if class != DNSClass::IN || query.query_type() == RecordType::AXFR {
            return Outcome::code(ResponseCode::Refused);
        }
        let dnssec = request.edns.as_ref().is_some_and(|edns| edns.flags().dnssec_ok);
        if self.zone.inside(query.name()).is_some() && !self.is_ready().await {
            return Outcome::code(ResponseCode::ServFail);
        }
        match answers::answer(&self.zone, &self.index, query.name(), query.query_type()) {
            Verdict::Ours(reply) => {
                let reply = if reply.code == ResponseCode::NXDomain {
                    let asked = (query.name(), query.query_type());
                    let client = request.src().ip();
                    search::search(&self.zone, &self.index, &self.upstream, client, asked, dnssec)
                        .await
                        .unwrap_or(reply)
                } else {
                    reply
                };
                let reply = self.follow(reply, query.query_type(), dnssec).await;
                Outcome { authoritative: true, reply: self.rotated(reply) }
            }
            Verdict::Elsewhere => match self.upstream.resolve(query, dnssec).await {
                Some(message) => Outcome::of(&message),
                None => Outcome::code(ResponseCode::ServFail),
            },
        }
    }

    async fn is_ready(&self) -> bool {
        tokio::time::timeout(FIRST_LIST, self.index.complete()).await.is_ok()
    }

    /// Adds what an alias leads to: stub resolvers do not ask again.
    async fn follow(&self, mut reply: Reply, kind: RecordType, dnssec: bool) -> Reply {
        for _ in 0..ALIASES {
            let Some(target) = reply.follow.take() else { return reply };
            match answers::answer(&self.zone, &self.index, &target, kind) {
                Verdict::Ours(more) => {
                    reply.answers.extend(more.answers);
                    (reply.code, reply.authorities, reply.follow) = (more.code, more.authorities, more.follow);
                }
                Verdict::Elsewhere => {
                    let found = self.upstream.resolve(&upstream::query(target, kind), dnssec).await;
                    match found {
                        Some(message) => {
                            reply.code = message.metadata.response_code;
                            reply.answers.extend(message.answers.iter().cloned());
                            reply.authorities.clone_from(&message.authorities);
                        }
                        None => reply.code = ResponseCode::ServFail,
                    }
                }
            }
        }
        reply
    }

    /// Several addresses begin with another one each time, for clients that take the first.
    fn rotated(&self, mut reply: Reply) -> Reply {
        let is_address = |kind| matches!(kind, RecordType::A | RecordType::AAAA);
        let count = reply.answers.len();
        if count > 1 && reply.answers.iter().all(|record| is_address(record.record_type())) {
            reply.answers.rotate_left(self.turn.fetch_add(1, Ordering::Relaxed) % count);
        }
        reply
    }
}

#[async_trait]
impl<I: Index + Send + Sync + Unpin + 'static> RequestHandler for Handler<I> {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, mut out: R) -> ResponseInfo {
        let Outcome { authoritative, reply } = self.outcome(request).await;
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = reply.code;
        metadata.authoritative = authoritative;
        metadata.recursion_available = true;
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(asked.max_payload().clamp(512, PAYLOAD)).set_version(0);
            edns.set_dnssec_ok(asked.flags().dnssec_ok);
            edns.set_rcode_high(reply.code.high());
            edns
        });
        let builder = MessageResponseBuilder::new(&request.queries, edns.as_ref());
        let response = builder.build(metadata, &reply.answers, &reply.authorities, [], &reply.additionals);
        match out.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, client = %request.src(), "an answer could not be sent");
                let mut metadata = Metadata::new(request.metadata.id, MessageType::Response, OpCode::Query);
                metadata.response_code = ResponseCode::ServFail;
                Header { metadata, counts: HeaderCounts::default() }.into()
            }
        }
    }
}
