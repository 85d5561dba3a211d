use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::frame::{Decoder, Encoder, Frame};
use crate::status;

fn headers(kind: &str) -> Headers {
    vec![("streamtype".into(), kind.into())]
}

fn pair() -> (Connection, Connection) {
    let (ours, theirs) = tokio::io::duplex(4096);
    (Connection::new(ours, Role::Server), Connection::new(theirs, Role::Client))
}

/// An end that says and hears single frames.
struct Raw {
    io: DuplexStream,
    decoder: Decoder,
    encoder: Encoder,
    input: BytesMut,
}

impl Raw {
    fn against(role: Role) -> (Connection, Self) {
        let (ours, io) = tokio::io::duplex(1 << 20);
        let raw = Self { io, decoder: Decoder::default(), encoder: Encoder::default(), input: BytesMut::new() };
        (Connection::new(ours, role), raw)
    }

    async fn say(&mut self, frame: Frame) {
        let mut bytes = BytesMut::new();
        self.encoder.put(&frame, &mut bytes);
        self.io.write_all(&bytes).await.unwrap();
    }

    async fn open(&mut self, stream: u32) {
        self.say(Frame::SynStream { stream, fin: false, unidirectional: false, headers: headers("data") }).await;
    }

    async fn data(&mut self, stream: u32, count: usize) {
        self.say(Frame::Data { stream, fin: false, data: vec![7; count].into() }).await;
    }

    async fn hear(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next(&mut self.input).unwrap() {
                return Some(frame);
            }
            if self.io.read_buf(&mut self.input).await.unwrap() == 0 {
                return None;
            }
        }
    }

    /// Data comes in pieces, cut anywhere.
    async fn receive_exactly(&mut self, count: usize) {
        let mut received = 0;
        while received < count {
            if let Frame::Data { data, .. } = self.hear().await.expect("the connection ended") {
                received += data.len();
            }
        }
        assert_eq!(received, count);
    }

    /// Hears on until a frame fits.
    async fn until(&mut self, fits: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.hear().await.expect("the connection ended");
            if fits(&frame) {
                return frame;
            }
        }
    }
}

#[tokio::test]
async fn streams_carry_bytes_both_ways_and_end_by_halves() {
    let (mut server, client) = pair();
    let mut near = client.open(headers("data")).unwrap();
    let mut far = server.accept().await.unwrap();
    assert_eq!(far.headers(), headers("data"));
    near.write_all(b"question").await.unwrap();
    near.shutdown().await.unwrap();
    let mut question = String::new();
    far.read_to_string(&mut question).await.unwrap();
    far.write_all(b"answer").await.unwrap();
    drop(far);
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
}

#[tokio::test]
async fn much_data_on_many_streams() {
    let (mut server, client) = pair();
    let echo = tokio::spawn(async move {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let stream = server.accept().await.unwrap();
            tasks.spawn(async move {
                let (mut from, mut to) = tokio::io::split(stream);
                tokio::io::copy(&mut from, &mut to).await.unwrap();
                to.shutdown().await.unwrap();
            });
        }
        tasks.join_all().await;
        server
    });
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..20u8 {
        let (mut from, mut to) = tokio::io::split(client.open(headers("data")).unwrap());
        tasks.spawn(async move {
            let sent = vec![number; 300_000];
            let mut got = Vec::new();
            let write = async {
                to.write_all(&sent).await.unwrap();
                to.shutdown().await.unwrap();
            };
            let (read, ()) = tokio::join!(from.read_to_end(&mut got), write);
            read.unwrap();
            assert!(got == sent);
        });
    }
    tasks.join_all().await;
    echo.await.unwrap();
}

#[tokio::test]
async fn what_was_written_goes_out_before_the_end() {
    let (mut server, client) = pair();
    let mut near = client.open(headers("error")).unwrap();
    let mut far = server.accept().await.unwrap();
    far.write_all(b"last words").await.unwrap();
    drop((far, server));
    let mut heard = String::new();
    near.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "last words");
    assert!(near.write_all(b"x").await.is_err(), "nobody is there");
}

#[tokio::test]
async fn an_end_without_windows_is_not_waited_for() {
    let (mut server, mut raw) = Raw::against(Role::Server);
    raw.open(1).await;
    let mut stream = server.accept().await.unwrap();
    stream.write_all(&vec![0; 200_000]).await.unwrap();
}

#[tokio::test]
async fn an_end_with_windows_is_kept_to_them() {
    let (mut server, mut raw) = Raw::against(Role::Server);
    raw.say(Frame::Settings(vec![(7, 10)])).await;
    raw.open(1).await;
    let mut stream = server.accept().await.unwrap();
    let writing = tokio::spawn(async move { stream.write_all(&[0; 25]).await.map(|()| stream) });
    raw.receive_exactly(10).await;
    raw.say(Frame::WindowUpdate { stream: 1, delta: 15 }).await;
    raw.receive_exactly(15).await;
    writing.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_read_may_be_sent_again() {
    let (mut server, mut raw) = Raw::against(Role::Server);
    raw.open(1).await;
    let mut stream = server.accept().await.unwrap();
    raw.data(1, 40_000).await;
    stream.read_exact(&mut vec![0; 40_000]).await.unwrap();
    for stream in [1, 0] {
        raw.until(
            |frame| matches!(frame, Frame::WindowUpdate { stream: of, delta } if *of == stream && *delta >= 32768),
        )
        .await;
    }
}

#[tokio::test]
async fn unread_data_is_bounded() {
    let (mut server, mut raw) = Raw::against(Role::Server);
    raw.open(1).await;
    let mut stream = server.accept().await.unwrap();
    // More than the stream, the connection and the pipe between hold together.
    let flood = async {
        for _ in 0..100 {
            raw.data(1, 64 * 1024).await;
        }
    };
    tokio::pin!(flood);
    let stuck = tokio::time::timeout(Duration::from_millis(200), &mut flood).await;
    assert!(stuck.is_err(), "nobody reads, so nobody may write");
    let mut all = vec![0; 100 * 64 * 1024];
    let (read, ()) = tokio::join!(stream.read_exact(&mut all), flood);
    read.unwrap();
}

#[tokio::test]
async fn data_that_nobody_wants_is_refused() {
    let (mut server, mut raw) = Raw::against(Role::Server);
    raw.open(1).await;
    drop(server.accept().await.unwrap());
    raw.until(|frame| matches!(frame, Frame::Data { fin: true, .. })).await;
    raw.data(1, 5).await;
    let told = raw.until(|frame| matches!(frame, Frame::RstStream { .. })).await;
    assert_eq!(told, Frame::RstStream { stream: 1, status: status::CANCEL });
}

#[tokio::test]
async fn a_reset_ends_reading() {
    let (mut server, client) = pair();
    let near = client.open(headers("data")).unwrap();
    let mut far = server.accept().await.unwrap();
    near.reset();
    assert!(far.read_u8().await.is_err());
}

#[tokio::test]
async fn pings_are_answered_and_rules_kept() {
    let (mut server, mut raw) = Raw::against(Role::Server);
    raw.say(Frame::Ping(1)).await;
    assert_eq!(raw.hear().await, Some(Frame::Ping(1)));
    // Numbers must grow.
    raw.open(3).await;
    raw.open(1).await;
    assert!(server.accept().await.is_some());
    assert!(server.accept().await.is_none());
    assert!(matches!(raw.until(|f| matches!(f, Frame::GoAway { .. })).await, Frame::GoAway { last: 3, .. }));
}

#[tokio::test]
async fn streams_are_bounded() {
    let (_server, mut raw) = Raw::against(Role::Server);
    for number in 0..1025 {
        raw.open(number * 2 + 1).await;
    }
    let refused = raw.until(|frame| matches!(frame, Frame::RstStream { .. })).await;
    assert_eq!(refused, Frame::RstStream { stream: 2049, status: status::REFUSED_STREAM });
}
