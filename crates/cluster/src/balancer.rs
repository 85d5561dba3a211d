//! One address for several API servers: TCP connections go to one that is alive.
//!
//! A server is asked twice a second for any sign of life, in bytes that are no TLS: a server that lives says so or hangs
//! up, one that hangs does neither. Connections to a server that shows none are cut, so that their clients come again and get
//! another one; as long as no other server lives they are left alone.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Time between two questions, and for the answer.
const EVERY: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(1);
/// Most connections at a time.
const CONNECTIONS: usize = 10_000;

/// The servers, and which of them live.
pub struct Balancer {
    servers: Vec<SocketAddr>,
    alive: watch::Sender<Vec<bool>>,
    next: AtomicUsize,
}

impl Balancer {
    /// All are taken to live until they are asked.
    pub fn new(servers: Vec<SocketAddr>) -> Arc<Self> {
        let alive = watch::Sender::new(vec![true; servers.len()]);
        Arc::new(Self { servers, alive, next: AtomicUsize::new(0) })
    }

    /// Passes connections on until `shutdown`.
    pub async fn run(self: Arc<Self>, listener: TcpListener, shutdown: CancellationToken) {
        let (places, connections) = (Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
        let mut asking = JoinSet::new();
        for (server, address) in self.servers.iter().enumerate() {
            asking.spawn(self.clone().ask(server, *address));
        }
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => return,
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

    /// Keeps up whether a server lives.
    async fn ask(self: Arc<Self>, server: usize, address: SocketAddr) {
        loop {
            let lives = matches!(tokio::time::timeout(PATIENCE, sign_of_life(address)).await, Ok(Ok(())));
            self.alive.send_if_modified(|alive| match alive.get_mut(server) {
                Some(known) if *known != lives => {
                    tracing::info!(%address, lives, "an API server came or went");
                    *known = lives;
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
        let order = order(&self.alive.borrow(), start);
        for server in order {
            let Some(address) = self.servers.get(server) else { continue };
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
                () = self.dead(server) => tracing::debug!(%address, "a connection to a server without life was cut"),
            }
            return;
        }
    }

    /// Returns when the server does not live and another one does.
    async fn dead(&self, server: usize) {
        let mut alive = self.alive.subscribe();
        let dead = |alive: &Vec<bool>| alive.get(server) == Some(&false) && alive.contains(&true);
        if alive.wait_for(dead).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Servers in the order in which they are tried: those that live first, each time beginning at another one.
fn order(alive: &[bool], start: usize) -> Vec<usize> {
    let count = alive.len();
    let rotated = (0..count).map(|i| (start % count.max(1) + i) % count.max(1));
    let (mut first, last): (Vec<usize>, Vec<usize>) = rotated.partition(|i| alive.get(*i) == Some(&true));
    first.extend(last);
    first
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
    use super::*;

    #[test]
    fn those_that_live_are_tried_first_and_in_turn() {
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
        let mut alive = balancer.alive.subscribe();
        let long = Duration::from_secs(30);
        tokio::time::timeout(long, alive.wait_for(|alive| *alive == [true, true, false])).await.unwrap().unwrap();
        let mut letters = [letter(address).await, letter(address).await];
        letters.sort_by_key(|(letter, _)| *letter);
        let [(one, mut to_a), (other, mut to_b)] = letters;
        assert_eq!([one, other], [b'a', b'b'], "in turn, and never the one that hangs");
        serving_a.abort();
        let mut byte = [0; 1];
        let cut = tokio::time::timeout(long, to_a.read(&mut byte)).await.unwrap();
        assert!(cut.is_err() || cut.is_ok_and(|n| n == 0));
        tokio::time::timeout(long, alive.wait_for(|alive| *alive == [false, true, false])).await.unwrap().unwrap();
        assert_eq!(letter(address).await.0, b'b');
        to_b.write_all(b"x").await.unwrap();
        to_b.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"x", "others are not disturbed");
        stop.cancel();
        running.await.unwrap();
    }
}
