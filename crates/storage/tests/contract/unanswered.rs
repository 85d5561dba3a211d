//! Writes whose answer is lost on the way: what they did is known all the same.

use std::sync::Arc;

use storage::{Entry, Revision, Store, Write, WriteError, etcd};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cases::{SOON, changes, delete, put};
use crate::engines::{Engine, Etcd};

const KEY: &str = "/registry/a/x";

/// What does not come through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    Requests,
    Answers,
}

/// Frames of HTTP/2.
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;

/// A way to a member that can be blocked in either direction. What a client takes back is not told to the member.
struct Way {
    address: String,
    held: watch::Sender<Held>,
    /// Answers that have come through whole.
    answers: watch::Receiver<usize>,
    _passing: JoinSet<()>,
}

impl Way {
    async fn to(member: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (member, held) = (member.trim_start_matches("http://").to_owned(), watch::Sender::new(Held::Nothing));
        let (count, answers) = watch::channel(0);
        let mut passing = JoinSet::new();
        let gate = held.subscribe();
        passing.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (mut from, to) = client.into_split();
                let (back, mut on) = TcpStream::connect(&member).await.unwrap().into_split();
                let mut preface = [0; 24];
                from.read_exact(&mut preface).await.unwrap();
                on.write_all(&preface).await.unwrap();
                connections.spawn(pass(from, on, gate.clone(), Held::Requests, watch::Sender::new(0)));
                connections.spawn(pass(back, to, gate.clone(), Held::Answers, count.clone()));
            }
        });
        Self { address, held, answers, _passing: passing }
    }
}

/// Passes frames on, and counts the streams that end.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut gate: watch::Receiver<Held>,
    own: Held,
    ended: watch::Sender<usize>,
) {
    let mut head = [0; 9];
    while from.read_exact(&mut head).await.is_ok() {
        let [a, b, c, kind, flags, ..] = head;
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
        if from.read_exact(&mut frame).await.is_err() || gate.wait_for(|held| *held != own).await.is_err() {
            return;
        }
        frame.splice(0..0, head);
        if kind != RST_STREAM && to.write_all(&frame).await.is_err() {
            return;
        }
        if kind == HEADERS && flags & END_STREAM != 0 {
            ended.send_modify(|count| *count += 1);
        }
    }
}

/// One server whose first way to etcd is blocked so, and the write that it tries meanwhile.
async fn blocked(engine: &Etcd, held: Held, write: Write) -> Trying {
    let way = Way::to(&engine.server.endpoints()[0]).await;
    let endpoints = [vec![way.address.clone()], engine.server.endpoints()].concat();
    let store = etcd::Etcd::open(&etcd::Options { endpoints, ..engine.options() }).await.unwrap();
    let store = Arc::new(store);
    way.held.send_replace(held);
    let writing = store.clone();
    let answer = tokio::spawn(async move { writing.write(write).await });
    Trying { way, answer, _store: store }
}

struct Trying {
    way: Way,
    answer: tokio::task::JoinHandle<Result<(Arc<Entry>, Revision), WriteError>>,
    _store: Arc<etcd::Etcd>,
}

impl Trying {
    async fn answer(&mut self) -> Result<(Arc<Entry>, Revision), WriteError> {
        (&mut self.answer).await.unwrap()
    }

    /// Lets everything through that was held, and waits until it has been answered.
    async fn release(mut self) {
        self.way.answers.borrow_and_update();
        self.way.held.send_replace(Held::Nothing);
        tokio::time::timeout(SOON, self.way.answers.changed()).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_done_but_not_answered_is_acknowledged_whatever_came_after_it() {
    let engine = Etcd::start();
    let other = engine.open().await;
    let mut watch = other.watch(KEY, other.current().await.unwrap()).unwrap();
    let mut expected = None;
    for value in ["created", "changed"] {
        let mut trying = blocked(&engine, Held::Answers, put(KEY, value, expected)).await;
        let done = changes(&mut watch).await.remove(0).revision;
        let after = other.write(put(KEY, "by another", Some(done))).await.unwrap().1;
        changes(&mut watch).await;
        let (entry, revision) = trying.answer().await.unwrap();
        assert_eq!((&entry.value[..], entry.modified, revision), (value.as_bytes(), done, done));
        expected = Some(after);
    }
    let mut trying = blocked(&engine, Held::Answers, delete(KEY, expected)).await;
    let done = changes(&mut watch).await.remove(0);
    assert!(done.now.is_none());
    other.write(put(KEY, "made anew", None)).await.unwrap();
    let (entry, revision) = trying.answer().await.unwrap();
    assert_eq!((Some(entry.modified), revision), (expected, done.revision));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_did_meanwhile_is_not_taken_for_ones_own() {
    let engine = Etcd::start();
    let other = engine.open().await;
    let (_, first) = other.write(put(KEY, "1", None)).await.unwrap();
    let mut trying = blocked(&engine, Held::Requests, put(KEY, "2", Some(first))).await;
    let (_, second) = other.write(put(KEY, "another", Some(first))).await.unwrap();
    match trying.answer().await {
        Err(WriteError::Conflict(Some(present))) => assert_eq!(present.modified, second),
        answer => panic!("{answer:?}"),
    }
    let mut trying = blocked(&engine, Held::Requests, delete(KEY, Some(second))).await;
    other.write(delete(KEY, Some(second))).await.unwrap();
    assert!(matches!(trying.answer().await, Err(WriteError::Conflict(None))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_comes_late_does_not_bring_back_what_was_deleted() {
    let engine = Etcd::start();
    let other = engine.open().await;
    let mut trying = blocked(&engine, Held::Requests, put(KEY, "x", None)).await;
    let (_, created) = trying.answer().await.unwrap();
    other.write(delete(KEY, Some(created))).await.unwrap();
    trying.release().await;
    assert!(other.get(KEY).await.unwrap().is_none());
    // It can be made anew, by a server that has not heard of the deletion yet, too.
    let one = engine.open().await;
    for _ in 0..20 {
        let (_, created) = one.write(put(KEY, "y", None)).await.unwrap();
        other.write(delete(KEY, Some(created))).await.unwrap();
    }
}
