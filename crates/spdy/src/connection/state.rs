//! What both ends of a connection have told each other.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::task::Waker;

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Role;
use crate::frame::{Encoder, Frame, FrameError};
use crate::headers::Headers;
use crate::status;

/// What each end may send before the other says more, by the protocol: a stream, and the connection.
const WINDOW: usize = 64 * 1024;
/// Beyond this much unread data of one stream, or of all, nothing is read any more: for those that know no windows.
const UNREAD: usize = WINDOW;
const ALL_UNREAD: usize = 4 * 1024 * 1024;
/// Beyond this much unsent data writers wait.
const UNSENT: usize = 256 * 1024;
/// The longest piece that is sent as one frame.
const PIECE: usize = 16 * 1024;
/// Streams at once.
const STREAMS: usize = 1024;
/// Setting that holds the window of new streams.
const INITIAL_WINDOW: u32 = 7;

pub(crate) struct Shared {
    state: Mutex<State>,
    /// Something waits to be sent.
    pub unsent: Notify,
    /// Somebody has read.
    pub read: Notify,
    pub closing: CancellationToken,
}

impl Shared {
    pub(super) fn new(role: Role) -> Self {
        let state = Mutex::new(State::new(role));
        Self { state, unsent: Notify::new(), read: Notify::new(), closing: CancellationToken::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn written(&self) {
        self.unsent.notify_one();
    }
}

pub(crate) struct State {
    role: Role,
    streams: HashMap<u32, StreamState>,
    next: u32,
    last_accepted: u32,
    pub accept: VecDeque<(u32, Headers)>,
    pub accept_waker: Option<Waker>,
    encoder: Encoder,
    pub output: BytesMut,
    /// Bytes that were put into `output`, and that have gone out, since the beginning.
    queued: u64,
    sent: u64,
    pub ended: bool,
    goes_away: bool,
    /// The other end has spoken of windows, so it keeps them. Widespread ones do not: they never allow more, and must
    /// not be waited for.
    keeps_windows: bool,
    initial_window: i64,
    send_window: i64,
    unread: usize,
    unacknowledged: usize,
}

/// One stream.
#[derive(Default)]
struct StreamState {
    received: VecDeque<Bytes>,
    unread: usize,
    unacknowledged: usize,
    /// The other end will send no more.
    is_read_up: bool,
    /// This end will send no more.
    is_finished: bool,
    reset: bool,
    /// Nobody holds it here any more.
    abandoned: bool,
    send_window: i64,
    /// What must have gone out for all of it to have gone out.
    queued: u64,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Whether something could be done, or the caller was noted down to be woken.
pub(crate) enum Step<T> {
    Done(T),
    Wait,
}

fn gone(kind: io::ErrorKind, why: &'static str) -> io::Error {
    io::Error::new(kind, why)
}

impl State {
    fn new(role: Role) -> Self {
        let window = i64::try_from(WINDOW).unwrap_or(i64::MAX);
        Self {
            role,
            streams: HashMap::new(),
            next: if role == Role::Client { 1 } else { 2 },
            last_accepted: 0,
            accept: VecDeque::new(),
            accept_waker: None,
            encoder: Encoder::default(),
            output: BytesMut::new(),
            queued: 0,
            sent: 0,
            ended: false,
            goes_away: false,
            keeps_windows: false,
            initial_window: window,
            send_window: window,
            unread: 0,
            unacknowledged: 0,
        }
    }

    fn put(&mut self, frame: &Frame) {
        let before = self.output.len();
        self.encoder.put(frame, &mut self.output);
        self.queued += u64::try_from(self.output.len() - before).unwrap_or(0);
    }

    pub(super) fn open(&mut self, headers: &Headers) -> io::Result<u32> {
        if self.ended || self.goes_away || self.streams.len() >= STREAMS {
            return Err(gone(io::ErrorKind::ConnectionRefused, "no more streams can be opened"));
        }
        let stream = self.next;
        self.next = self.next.checked_add(2).filter(|next| *next < 1 << 31).unwrap_or(self.next);
        self.streams.insert(stream, StreamState { send_window: self.initial_window, ..StreamState::default() });
        self.put(&Frame::SynStream { stream, fin: false, unidirectional: false, headers: headers.clone() });
        Ok(stream)
    }

    /// Takes what the other end says.
    pub(super) fn receive(&mut self, frame: Frame) -> Result<(), FrameError> {
        match frame {
            Frame::SynStream { stream, fin, unidirectional, headers } => {
                return self.opened(stream, fin, unidirectional, headers);
            }
            Frame::SynReply { stream, fin, .. } | Frame::Headers { stream, fin, .. } => {
                if fin {
                    self.data(stream, true, Bytes::new());
                }
            }
            Frame::RstStream { stream, .. } => {
                if let Some(state) = self.streams.get_mut(&stream) {
                    state.reset = true;
                    state.wake();
                    self.forget(stream);
                }
            }
            Frame::Settings(settings) => {
                for (_, value) in settings.into_iter().filter(|(id, _)| *id == INITIAL_WINDOW) {
                    self.set_initial_window(i64::from(value));
                }
            }
            Frame::Ping(id) => {
                // Each end numbers its own as it does its streams; others are answers.
                if (id % 2 == 1) == (self.role == Role::Server) {
                    self.put(&Frame::Ping(id));
                }
            }
            Frame::GoAway { .. } => self.goes_away = true,
            Frame::WindowUpdate { stream, delta } => self.widen(stream, delta),
            Frame::Data { stream, fin, data } => self.data(stream, fin, data),
        }
        Ok(())
    }

    fn opened(&mut self, stream: u32, fin: bool, one_way: bool, headers: Headers) -> Result<(), FrameError> {
        let is_theirs = (stream % 2 == 1) == (self.role == Role::Server);
        if !is_theirs || stream <= self.last_accepted {
            return Err(FrameError::Headers);
        }
        self.last_accepted = stream;
        if self.streams.len() >= STREAMS {
            self.put(&Frame::RstStream { stream, status: status::REFUSED_STREAM });
            return Ok(());
        }
        let state = StreamState {
            is_read_up: fin,
            is_finished: one_way,
            send_window: self.initial_window,
            ..StreamState::default()
        };
        self.streams.insert(stream, state);
        if !one_way {
            self.put(&Frame::SynReply { stream, fin: false, headers: Headers::new() });
        }
        self.accept.push_back((stream, headers));
        if let Some(waker) = self.accept_waker.take() {
            waker.wake();
        }
        Ok(())
    }

    fn data(&mut self, stream: u32, fin: bool, data: Bytes) {
        let length = data.len();
        let taken = match self.streams.get_mut(&stream) {
            Some(state) if !state.abandoned && !state.is_read_up && !state.reset => {
                state.is_read_up = fin;
                if length > 0 {
                    state.unread += length;
                    state.received.push_back(data);
                }
                if let Some(reader) = state.reader.take() {
                    reader.wake();
                }
                true
            }
            Some(state) => {
                state.is_read_up |= fin;
                false
            }
            None => false,
        };
        if taken {
            self.unread += length;
        } else {
            // Nobody reads it, so the connection's window widens at once; the other end is told to stop.
            self.acknowledge_connection(length);
            let is_known = self.streams.contains_key(&stream);
            if is_known && length > 0 {
                self.put(&Frame::RstStream { stream, status: status::CANCEL });
                if let Some(state) = self.streams.get_mut(&stream) {
                    state.reset = true;
                }
            }
        }
        self.forget(stream);
    }

    fn set_initial_window(&mut self, window: i64) {
        self.keeps_windows = true;
        let change = window - self.initial_window;
        self.initial_window = window;
        for state in self.streams.values_mut() {
            state.send_window += change;
            state.wake();
        }
    }

    fn widen(&mut self, stream: u32, delta: u32) {
        self.keeps_windows = true;
        if stream == 0 {
            self.send_window += i64::from(delta);
            self.wake_all();
        } else if let Some(state) = self.streams.get_mut(&stream) {
            state.send_window += i64::from(delta);
            state.wake();
        }
    }

    fn acknowledge_connection(&mut self, length: usize) {
        self.unacknowledged += length;
        if self.unacknowledged >= WINDOW / 2 {
            let delta = u32::try_from(self.unacknowledged).unwrap_or(0);
            self.unacknowledged = 0;
            self.put(&Frame::WindowUpdate { stream: 0, delta });
        }
    }

    /// Takes a stream off that both ends are done with and nobody holds.
    fn forget(&mut self, stream: u32) {
        let done = |state: &StreamState| state.abandoned && (state.reset || state.is_finished && state.is_read_up);
        if self.streams.get(&stream).is_some_and(done) {
            self.streams.remove(&stream);
        }
    }

    /// Whether more may be read from the connection.
    pub(super) fn has_room(&self) -> bool {
        self.unread <= ALL_UNREAD && self.streams.values().all(|state| state.unread <= UNREAD)
    }

    /// Counts bytes that have gone out, and wakes who waited for that.
    pub(super) fn gone_out(&mut self, count: usize) {
        self.sent += u64::try_from(count).unwrap_or(0);
        self.wake_all();
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
        self.wake_all();
        if let Some(waker) = self.accept_waker.take() {
            waker.wake();
        }
    }

    pub(super) fn go_away(&mut self) {
        let last = self.last_accepted;
        self.put(&Frame::GoAway { last, status: 0 });
    }

    fn wake_all(&mut self) {
        self.streams.values_mut().for_each(StreamState::wake);
    }

    /// Reads of a stream; nothing at its end.
    pub(crate) fn read(&mut self, stream: u32, limit: usize, waker: &Waker) -> io::Result<Step<Bytes>> {
        let Some(state) = self.streams.get_mut(&stream) else {
            return Err(gone(io::ErrorKind::ConnectionReset, "stream was reset"));
        };
        let Some(first) = state.received.front_mut() else {
            if state.is_read_up {
                return Ok(Step::Done(Bytes::new()));
            }
            if state.reset || self.ended {
                return Err(gone(io::ErrorKind::ConnectionReset, "stream was reset"));
            }
            state.reader = Some(waker.clone());
            return Ok(Step::Wait);
        };
        let data = first.split_to(first.len().min(limit));
        if !first.has_remaining() {
            state.received.pop_front();
        }
        let length = data.len();
        state.unread -= length;
        self.unread -= length;
        state.unacknowledged += length;
        if state.unacknowledged >= WINDOW / 2 && !state.is_read_up && !state.reset {
            let delta = u32::try_from(state.unacknowledged).unwrap_or(0);
            state.unacknowledged = 0;
            self.put(&Frame::WindowUpdate { stream, delta });
        }
        self.acknowledge_connection(length);
        Ok(Step::Done(data))
    }

    /// Sends as much of `data` as may be sent now.
    pub(crate) fn write(&mut self, stream: u32, data: &[u8], waker: &Waker) -> io::Result<Step<usize>> {
        let (ended, full) = (self.ended, self.output.len() >= UNSENT);
        let Some(state) = self.streams.get_mut(&stream).filter(|state| !ended && !state.reset && !state.is_finished)
        else {
            return Err(gone(io::ErrorKind::BrokenPipe, "stream takes no more"));
        };
        let windows = if self.keeps_windows { state.send_window.min(self.send_window).max(0) } else { i64::MAX };
        let length = data.len().min(PIECE).min(usize::try_from(windows).unwrap_or(usize::MAX));
        if full || length == 0 && !data.is_empty() {
            state.writer = Some(waker.clone());
            return Ok(Step::Wait);
        }
        let cost = i64::try_from(length).unwrap_or(0);
        state.send_window -= cost;
        self.send_window -= cost;
        let data = Bytes::copy_from_slice(data.get(..length).unwrap_or_default());
        self.put_of(stream, &Frame::Data { stream, fin: false, data });
        Ok(Step::Done(length))
    }

    fn put_of(&mut self, stream: u32, frame: &Frame) {
        self.put(frame);
        let queued = self.queued;
        if let Some(state) = self.streams.get_mut(&stream) {
            state.queued = queued;
        }
    }

    /// Says that this end sends no more.
    pub(crate) fn finish(&mut self, stream: u32) {
        if self.streams.get(&stream).is_some_and(|state| !state.is_finished && !state.reset) {
            self.put_of(stream, &Frame::Data { stream, fin: true, data: Bytes::new() });
            if let Some(state) = self.streams.get_mut(&stream) {
                state.is_finished = true;
            }
        }
    }

    /// Waits until all that was written has gone out.
    pub(crate) fn flush(&mut self, stream: u32, waker: &Waker) -> io::Result<Step<()>> {
        let (sent, ended) = (self.sent, self.ended);
        match self.streams.get_mut(&stream) {
            Some(state) if state.queued > sent => {
                if ended {
                    return Err(gone(io::ErrorKind::BrokenPipe, "connection has ended"));
                }
                state.writer = Some(waker.clone());
                Ok(Step::Wait)
            }
            _ => Ok(Step::Done(())),
        }
    }

    pub(crate) fn reset(&mut self, stream: u32) {
        if self.streams.get(&stream).is_some_and(|state| !state.reset) {
            self.put(&Frame::RstStream { stream, status: status::CANCEL });
            if let Some(state) = self.streams.get_mut(&stream) {
                state.reset = true;
            }
        }
    }

    /// The stream's holder is gone: the end is said if it was not yet, and what still comes is thrown away.
    pub(crate) fn abandon(&mut self, stream: u32) {
        self.finish(stream);
        if let Some(state) = self.streams.get_mut(&stream) {
            state.abandoned = true;
            state.received.clear();
            let unread = std::mem::take(&mut state.unread);
            self.unread -= unread;
            self.acknowledge_connection(unread);
        }
        self.forget(stream);
    }
}

impl StreamState {
    fn wake(&mut self) {
        [self.reader.take(), self.writer.take()].into_iter().flatten().for_each(Waker::wake);
    }
}
