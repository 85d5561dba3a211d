//! One address for several API servers: TCP connections go to one that is alive.
//!
//! A server is asked twice a second for any sign of life, in bytes that are no TLS: a server that lives says so or hangs
//! up, one that hangs does neither. Connections to a server that shows none are cut, so that their clients come again and get
//! another one; as long as no other server lives they are left alone.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// Time between two questions, and for the answer.
const EVERY: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(1);
/// Most connections at a time.
const CONNECTIONS: usize = 10_000;

/// A server, and whether it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Server {
    address: SocketAddr,
    alive: bool,
}

/// The servers, and which of them live.
pub struct Balancer {
    servers: watch::Sender<Vec<Server>>,
    next: AtomicUsize,
}

impl Balancer {
    /// All are taken to live until they are asked.
    pub fn new(servers: Vec<SocketAddr>) -> Arc<Self> {
        let balancer = Self { servers: watch::Sender::new(Vec::new()), next: AtomicUsize::new(0) };
        balancer.set(servers);
        Arc::new(balancer)
    }

    /// These are the servers from now on.
    pub fn set(&self, addresses: Vec<SocketAddr>) {
        self.servers.send_if_modified(|servers| {
            let alive = |address| servers.iter().find(|s| s.address == address).is_none_or(|s| s.alive);
            let next: Vec<Server> =
                addresses.into_iter().map(|address| Server { address, alive: alive(address) }).collect();
            let changed = *servers != next;
            *servers = next;
            changed
        });
    }

    /// Passes connections on until `shutdown`.
    pub async fn run(self: Arc<Self>, listener: TcpListener, shutdown: CancellationToken) {
        let (places, connections) = (Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
        let mut changes = self.servers.subscribe();
        let mut asking = HashMap::new();
        loop {
            self.ask_all(&mut asking);
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
                Ok(()) = changes.changed() => continue,
                accepted = listener.accept() => accepted,
            };
            let client = match accepted {
                Ok((client, _)) => client,
                Err(error) => {
                    // Out of file descriptors, most likely; a moment later some are free.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let Ok(place) = places.clone().try_acquire_owned() else {
                tracing::warn!("too many connections, one was refused");
                continue;
            };
            let (balancer, stop) = (self.clone(), shutdown.clone());
            connections.spawn(async move {
                tokio::select! {
                    () = balancer.pass(client) => {}
                    () = stop.cancelled() => {}
                }
                drop(place);
            });
        }
    }

    /// Asks each server that is one now, and no other.
    fn ask_all(self: &Arc<Self>, asking: &mut HashMap<SocketAddr, AbortOnDropHandle<()>>) {
        let addresses: Vec<SocketAddr> = self.servers.borrow().iter().map(|server| server.address).collect();
        asking.retain(|address, _| addresses.contains(address));
        for address in addresses {
            let ask = || AbortOnDropHandle::new(tokio::spawn(self.clone().ask(address)));
            asking.entry(address).or_insert_with(ask);
        }
    }

    /// Keeps up whether a server lives.
    async fn ask(self: Arc<Self>, address: SocketAddr) {
        loop {
            let lives = matches!(tokio::time::timeout(PATIENCE, sign_of_life(address)).await, Ok(Ok(())));
            self.servers.send_if_modified(|servers| match servers.iter_mut().find(|s| s.address == address) {
                Some(known) if known.alive != lives => {
                    tracing::info!(%address, lives, "an API server came or went");
                    known.alive = lives;
                    true
                }
                _ => false,
            });
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Connects a client with the first server that takes it.
    async fn pass(&self, mut client: TcpStream) {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let order = order(&self.servers.borrow(), start);
        for address in order {
            let Ok(Ok(mut upstream)) = tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await else {
                continue;
            };
            // Small packets of interactive streams are not to wait for each other.
            if let Err(error) = client.set_nodelay(true).and_then(|()| upstream.set_nodelay(true)) {
                tracing::debug!(%error, "a connection stays slow");
            }
            tokio::select! {
                copied = copy_bidirectional(&mut client, &mut upstream) => {
                    if let Err(error) = copied {
                        tracing::debug!(%address, %error, "a connection broke");
                    }
                }
                () = self.dead(address) => tracing::debug!(%address, "a connection to a server without life was cut"),
            }
            return;
        }
    }

    /// Returns when the server does not live, or is none any more, and another one lives.
    async fn dead(&self, address: SocketAddr) {
        let mut servers = self.servers.subscribe();
        let dead = |servers: &Vec<Server>| {
            let own = servers.iter().find(|server| server.address == address);
            own.is_none_or(|server| !server.alive) && servers.iter().any(|server| server.alive)
        };
        if servers.wait_for(dead).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Servers in the order in which they are tried: those that live first, each time beginning at another one.
fn order(servers: &[Server], start: usize) -> Vec<SocketAddr> {
    let first = start.checked_rem(servers.len()).unwrap_or_default();
    let rotated = servers.iter().cycle().skip(first).take(servers.len());
    let (living, others): (Vec<&Server>, Vec<&Server>) = rotated.partition(|server| server.alive);
    living.into_iter().chain(others).map(|server| server.address).collect()
}

/// Whether anybody answers, whatever the answer.
async fn sign_of_life(address: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(address).await?;
    server.write_all(b"\r\n\r\n\r\n").await?;
    let mut answer = [0; 1];
    match server.read(&mut answer).await {
        // Hanging up is an answer, too.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    #[test]
    fn those_that_live_are_tried_first_and_in_turn() {
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let order = |alive: &[bool], start| -> Vec<u16> {
            let servers = alive.iter().zip(0..).map(|(alive, port)| Server { address: at(port), alive: *alive });
            order(&servers.collect::<Vec<_>>(), start).iter().map(SocketAddr::port).collect()
        };
        assert_eq!(order(&[true, true, true], 1), [1, 2, 0]);
        assert_eq!(order(&[true, false, true], 1), [2, 0, 1]);
        assert_eq!(order(&[false, false], 3), [1, 0]);
        assert!(order(&[], 3).is_empty());
    }

    /// Answers every connection with its letter, then repeats what comes.
    async fn server(letter: u8) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                connections.spawn(async move {
                    drop(stream.write_all(&[letter]).await);
                    let (mut read, mut write) = stream.split();
                    drop(tokio::io::copy(&mut read, &mut write).await);
                });
            }
        });
        (address, serving)
    }

    async fn letter(address: SocketAddr) -> (u8, TcpStream) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut byte = [0; 1];
        stream.read_exact(&mut byte).await.unwrap();
        (byte[0], stream)
    }

    #[tokio::test]
    async fn clients_of_a_server_that_dies_or_hangs_get_another_one() {
        let ((a, serving_a), (b, _serving_b)) = (server(b'a').await, server(b'b').await);
        // It takes connections, as a stopped process does, and says nothing.
        let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let balancer = Balancer::new(vec![a, b, hangs.local_addr().unwrap()]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let running = tokio::spawn(balancer.clone().run(listener, stop.clone()));
        let mut servers = balancer.servers.subscribe();
        let alive = |wanted: &'static [bool]| {
            move |servers: &Vec<Server>| servers.iter().map(|s| s.alive).eq(wanted.iter().copied())
        };
        let long = Duration::from_secs(30);
        tokio::time::timeout(long, servers.wait_for(alive(&[true, true, false]))).await.unwrap().unwrap();
        let mut letters = [letter(address).await, letter(address).await];
        letters.sort_by_key(|(letter, _)| *letter);
        let [(one, mut to_a), (other, mut to_b)] = letters;
        assert_eq!([one, other], [b'a', b'b'], "in turn, and never the one that hangs");
        serving_a.abort();
        let mut byte = [0; 1];
        let cut = tokio::time::timeout(long, to_a.read(&mut byte)).await.unwrap();
        assert!(cut.is_err() || cut.is_ok_and(|n| n == 0));
        tokio::time::timeout(long, servers.wait_for(alive(&[false, true, false]))).await.unwrap().unwrap();
        assert_eq!(letter(address).await.0, b'b');
        to_b.write_all(b"x").await.unwrap();
        to_b.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"x", "others are not disturbed");
        let (c, _serving_c) = server(b'c').await;
        balancer.set(vec![c]);
        let cut = tokio::time::timeout(long, to_b.read(&mut byte)).await.unwrap();
        assert!(cut.is_err() || cut.is_ok_and(|n| n == 0), "a server that is none any more is left");
        assert_eq!(letter(address).await.0, b'c');
        stop.cancel();
        running.await.unwrap();
    }
}
