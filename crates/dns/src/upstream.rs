//! Questions about the rest of the world, put to the node's own name servers.

mod cache;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cache::{Cache, Question};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hickory_proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

/// Questions under way; beyond it clients are told to come again.
const IN_FLIGHT: usize = 512;
/// One attempt at one server.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(2);
/// A server that has said nothing for this long is raced against the next one.
const HEDGE: Duration = Duration::from_millis(300);
/// The file is read again after this time.
const FRESH: Duration = Duration::from_secs(10);
/// What fits into one packet nearly everywhere.
pub(crate) const PAYLOAD: u16 = 1232;
/// As many servers as glibc would ask.
const SERVERS: usize = 3;
/// As many domains as glibc has always searched.
const DOMAINS: usize = 6;

/// What a `resolv.conf` says.
#[derive(Debug, Clone, Default)]
struct Written {
    servers: Vec<SocketAddr>,
    search: Vec<Name>,
}

/// Where the name servers are written.
#[derive(Debug, Clone)]
pub(crate) enum Servers {
    Fixed(Vec<SocketAddr>),
    ResolvConf(PathBuf),
}

/// Asks others, and keeps what they say for a while.
pub(crate) struct Upstream {
    servers: Servers,
    /// Our own addresses: asking them would go round in circles.
    own: Vec<SocketAddr>,
    read: Mutex<Option<(Instant, Written)>>,
    /// Who answered last: it is asked first.
    best: Mutex<Option<SocketAddr>>,
    in_flight: Semaphore,
    cache: Mutex<Cache>,
}

impl Upstream {
    pub(crate) fn new(servers: Servers, own: Vec<SocketAddr>) -> Self {
        let in_flight = Semaphore::new(IN_FLIGHT);
        Self { servers, own, read: Mutex::new(None), best: Mutex::new(None), in_flight, cache: Mutex::default() }
    }

    /// What the first server that knows says; when none does in time, what was known before; else none.
    pub(crate) async fn resolve(&self, query: &Query, dnssec: bool) -> Option<Arc<Message>> {
        let question = Question::of(query, dnssec);
        if let Some(known) = self.cache.lock().get(&question, Instant::now()) {
            return Some(known);
        }
        let Ok(_permit) = self.in_flight.try_acquire() else {
            tracing::warn!(limit = IN_FLIGHT, "too many questions to other name servers under way");
            return None;
        };
        let said = self.race(query, dnssec).await.map(Arc::new);
        if let Some(message) = said.as_ref().filter(|message| is_answer(message)) {
            self.cache.lock().put(question, Arc::clone(message), Instant::now());
            return said;
        }
        self.cache.lock().stale(&question, Instant::now()).or(said)
    }

    /// Asks one server after the other, without waiting long for one that is silent; the first answer counts.
    async fn race(&self, query: &Query, dnssec: bool) -> Option<Message> {
        let mut servers = self.written().await.servers;
        let best = *self.best.lock();
        servers.sort_by_key(|server| Some(*server) != best);
        let (mut waiting, mut asked, mut last) = (servers.into_iter(), FuturesUnordered::new(), None);
        loop {
            if let Some(server) = waiting.next() {
                asked.push(attempt(server, query, dnssec));
            }
            let hedge = if waiting.len() == 0 { ATTEMPT * 2 } else { HEDGE };
            match timeout(hedge, asked.next()).await {
                Ok(Some((server, Some(message)))) if is_answer(&message) => {
                    *self.best.lock() = Some(server);
                    return Some(message);
                }
                Ok(Some((_, message))) => last = message.or(last),
                Ok(None) if waiting.len() == 0 => return last,
                Ok(None) | Err(_) => {}
            }
        }
    }

    /// Domains that the node itself searches.
    pub(crate) async fn search(&self) -> Vec<Name> {
        self.written().await.search
    }

    async fn written(&self) -> Written {
        let path = match &self.servers {
            Servers::Fixed(servers) => return Written { servers: self.others(servers.clone()), search: Vec::new() },
            Servers::ResolvConf(path) => path,
        };
        if let Some((read, written)) = &*self.read.lock()
            && read.elapsed() < FRESH
        {
            return written.clone();
        }
        let text = tokio::fs::read_to_string(path).await.unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "cannot read the node's name servers");
            String::new()
        });
        let written = Written { servers: self.others(name_servers(&text)), search: search_domains(&text) };
        *self.read.lock() = Some((Instant::now(), written.clone()));
        written
    }

    fn others(&self, servers: Vec<SocketAddr>) -> Vec<SocketAddr> {
        servers.into_iter().filter(|server| !self.own.contains(server)).take(SERVERS).collect()
    }
}

/// The name servers of a `resolv.conf`.
fn name_servers(text: &str) -> Vec<SocketAddr> {
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next());
        address?.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53))
    };
    text.lines().filter_map(of_line).collect()
}

/// The domains that a `resolv.conf` has names completed with: those of its last such line.
fn search_domains(text: &str) -> Vec<Name> {
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| matches!(*word, "search" | "domain"))?;
        Some(words.filter_map(domain).take(DOMAINS).collect())
    };
    text.lines().filter_map(of_line).next_back().unwrap_or_default()
}

fn domain(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok().filter(|name| !name.is_root())?;
    name.set_fqdn(true);
    Some(name)
}

fn is_answer(message: &Message) -> bool {
    matches!(message.metadata.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
}

async fn attempt(server: SocketAddr, query: &Query, dnssec: bool) -> (SocketAddr, Option<Message>) {
    match timeout(ATTEMPT, ask(server, query, dnssec)).await {
        Ok(Ok(message)) => return (server, Some(message)),
        Ok(Err(error)) => tracing::debug!(%server, %error, "name server did not answer"),
        Err(_) => tracing::debug!(%server, "name server did not answer in time"),
    }
    (server, None)
}

async fn ask(server: SocketAddr, query: &Query, dnssec: bool) -> std::io::Result<Message> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(query.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD).set_version(0).set_dnssec_ok(dnssec);
    message.set_edns(edns);
    let bytes = message.to_vec().map_err(std::io::Error::other)?;
    let answer = over_udp(server, &bytes, &message).await?;
    if answer.metadata.truncation { over_tcp(server, &bytes, &message).await } else { Ok(answer) }
}

/// A socket of its own, so that the port is hard to guess. What does not fit the question is not heard.
async fn over_udp(server: SocketAddr, bytes: &[u8], question: &Message) -> std::io::Result<Message> {
    let any = if server.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { IpAddr::from(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let count = socket.recv(&mut buffer).await?;
        let answer = buffer.get(..count).and_then(|bytes| Message::from_vec(bytes).ok());
        if let Some(answer) = answer.filter(|answer| fits(answer, question)) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, bytes: &[u8], question: &Message) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
    let framed = [length.to_be_bytes().as_slice(), bytes].concat();
    stream.write_all(&framed).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    let answer = Message::from_vec(&answer).map_err(std::io::Error::other)?;
    if fits(&answer, question) { Ok(answer) } else { Err(std::io::Error::other("answer to another question")) }
}

fn fits(answer: &Message, question: &Message) -> bool {
    answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == question.metadata.id
        && answer.queries == question.queries
}

/// A question in the class that matters.
pub(crate) fn query(name: Name, kind: RecordType) -> Query {
    let mut query = Query::query(name, kind);
    query.set_query_class(DNSClass::IN);
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_a_file() {
        let text = "# x\nnameserver 9.9.9.9\nsearch a b\n nameserver fe80::1\nnameserver bad\nnameserver\n";
        let found: Vec<String> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["9.9.9.9:53", "[fe80::1]:53"]);
    }

    #[tokio::test]
    async fn never_asks_itself() {
        let own: SocketAddr = "10.96.0.10:53".parse().unwrap();
        let other: SocketAddr = "9.9.9.9:53".parse().unwrap();
        let upstream = Upstream::new(Servers::Fixed(vec![own, other]), vec![own]);
        assert_eq!(upstream.written().await.servers, [other]);
    }

    #[test]
    fn domains_of_a_file() {
        let found = search_domains("search old\nnameserver 9.9.9.9\nsearch corp.example. example.org\n");
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["corp.example.", "example.org."]);
        assert!(search_domains("nameserver 9.9.9.9\n").is_empty());
    }
}
