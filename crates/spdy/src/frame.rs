//! Frames, from bytes and to bytes. Total: whatever comes, there is an answer, and memory is bounded.

#[cfg(test)]
mod tests;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::headers::{Headers, Pack, Unpack};

const VERSION: u16 = 3;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

const FIN: u8 = 1;
const UNIDIRECTIONAL: u8 = 2;
/// Data frames are taken in pieces, control frames whole: these may be this long.
const CONTROL: usize = 32 * 1024;
/// Head of every frame.
const HEAD: usize = 8;
/// Settings that are looked at.
const SETTINGS_COUNT: usize = 64;
const LOW_31: u32 = 0x7fff_ffff;

/// What one end tells the other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of the protocol")]
pub enum Frame {
    /// Opens a stream.
    SynStream { stream: u32, fin: bool, unidirectional: bool, headers: Headers },
    /// Takes a stream.
    SynReply { stream: u32, fin: bool, headers: Headers },
    /// Ends a stream at once.
    RstStream { stream: u32, status: u32 },
    /// Numbers and values.
    Settings(Vec<(u32, u32)>),
    /// Asks for the same back.
    Ping(u32),
    /// No more streams are taken.
    GoAway { last: u32, status: u32 },
    /// More headers.
    Headers { stream: u32, fin: bool, headers: Headers },
    /// The other may send more; stream 0 is the whole connection.
    WindowUpdate { stream: u32, delta: u32 },
    /// A piece of a stream.
    Data { stream: u32, fin: bool, data: Bytes },
}

/// Why bytes are no frames. None of these can be recovered from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Of another version.
    #[error("SPDY version {0} is not spoken")]
    Version(u16),
    /// Longer than is taken.
    #[error("control frame of {0} bytes")]
    TooLong(usize),
    /// Shorter than it must be, or with what must not be.
    #[error("malformed frame of type {0}")]
    Malformed(u16),
    /// The compressed stream is broken.
    #[error("malformed header compression")]
    Compression,
    /// Headers do not fit their block.
    #[error("malformed headers")]
    Headers,
    /// Headers longer than are taken.
    #[error("headers too long")]
    HeadersTooLong,
}

/// Turns bytes into frames.
pub struct Decoder {
    unpack: Unpack,
    /// The data frame that is being read.
    data: Option<Piece>,
}

struct Piece {
    stream: u32,
    fin: bool,
    left: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { unpack: Unpack::new(), data: None }
    }
}

impl Decoder {
    /// The next frame, taken off `input`; none when more bytes are needed. A long data frame comes in pieces.
    ///
    /// # Errors
    /// When the bytes are none: the connection is then lost.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(piece) = self.data.take() {
                let (frame, rest) = piece.read(input);
                self.data = rest;
                return Ok(frame);
            }
            let Some((head, _)) = input.split_at_checked(HEAD) else { return Ok(None) };
            let mut head = head;
            let word = head.get_u32();
            let flags_and_length = head.get_u32();
            let [flags, ..] = flags_and_length.to_be_bytes();
            let length = usize::try_from(flags_and_length & 0x00ff_ffff).unwrap_or(usize::MAX);
            if word & !LOW_31 == 0 {
                input.advance(HEAD);
                self.data = Some(Piece { stream: word, fin: flags & FIN != 0, left: length });
                continue;
            }
            let [high, low, kind @ ..] = word.to_be_bytes();
            let (version, kind) = (u16::from_be_bytes([high & 0x7f, low]), u16::from_be_bytes(kind));
            if version != VERSION {
                return Err(FrameError::Version(version));
            }
            if length > CONTROL {
                return Err(FrameError::TooLong(length));
            }
            if input.len() < HEAD + length {
                return Ok(None);
            }
            input.advance(HEAD);
            let body = input.split_to(length).freeze();
            // What is not known is passed over.
            if let Some(frame) = self.control(kind, flags, body)? {
                return Ok(Some(frame));
            }
        }
    }

    fn control(&mut self, kind: u16, flags: u8, mut body: Bytes) -> Result<Option<Frame>, FrameError> {
        let malformed = |_| FrameError::Malformed(kind);
        let fin = flags & FIN != 0;
        let mut number = || body.try_get_u32().map_err(malformed);
        Ok(Some(match kind {
            SYN_STREAM => {
                let stream = number()? & LOW_31;
                number()?;
                // Priority and slot.
                body.try_get_u16().map_err(malformed)?;
                let headers = self.unpack.block(&body)?;
                Frame::SynStream { stream, fin, unidirectional: flags & UNIDIRECTIONAL != 0, headers }
            }
            SYN_REPLY | HEADERS => {
                let stream = number()? & LOW_31;
                let headers = self.unpack.block(&body)?;
                if kind == SYN_REPLY {
                    Frame::SynReply { stream, fin, headers }
                } else {
                    Frame::Headers { stream, fin, headers }
                }
            }
            RST_STREAM => Frame::RstStream { stream: number()? & LOW_31, status: number()? },
            SETTINGS => {
                let count = usize::try_from(number()?).unwrap_or(usize::MAX);
                if count.checked_mul(8) != Some(body.len()) {
                    return Err(FrameError::Malformed(kind));
                }
                let mut settings = Vec::new();
                while let (Ok(id), Ok(value)) = (body.try_get_u32(), body.try_get_u32()) {
                    if settings.len() < SETTINGS_COUNT {
                        settings.push((id & 0x00ff_ffff, value));
                    }
                }
                Frame::Settings(settings)
            }
            PING => Frame::Ping(number()?),
            GOAWAY => Frame::GoAway { last: number()? & LOW_31, status: number()? },
            WINDOW_UPDATE => Frame::WindowUpdate { stream: number()? & LOW_31, delta: number()? & LOW_31 },
            _ => return Ok(None),
        }))
    }
}

impl Piece {
    fn read(mut self, input: &mut BytesMut) -> (Option<Frame>, Option<Self>) {
        let here = self.left.min(input.len());
        if here == 0 && self.left > 0 {
            return (None, Some(self));
        }
        self.left -= here;
        let is_last = self.left == 0;
        let data = input.split_to(here).freeze();
        let frame = Frame::Data { stream: self.stream, fin: self.fin && is_last, data };
        (Some(frame), (!is_last).then_some(self))
    }
}

/// Turns frames into bytes.
#[derive(Default)]
pub(crate) struct Encoder {
    pack: Pack,
}

impl Encoder {
    pub(crate) fn put(&mut self, frame: &Frame, output: &mut BytesMut) {
        match frame {
            Frame::SynStream { stream, fin, unidirectional, headers } => {
                let block = self.pack.block(headers);
                let flags = if *fin { FIN } else { 0 } | if *unidirectional { UNIDIRECTIONAL } else { 0 };
                head(output, SYN_STREAM, flags, 10 + block.len());
                output.put_u32(*stream);
                output.put_u32(0);
                output.put_u16(0);
                output.extend_from_slice(&block);
            }
            Frame::SynReply { stream, fin, headers } => self.with_headers(SYN_REPLY, *stream, *fin, headers, output),
            Frame::Headers { stream, fin, headers } => self.with_headers(HEADERS, *stream, *fin, headers, output),
            Frame::RstStream { stream, status } => pair(output, RST_STREAM, *stream, *status),
            Frame::GoAway { last, status } => pair(output, GOAWAY, *last, *status),
            Frame::WindowUpdate { stream, delta } => pair(output, WINDOW_UPDATE, *stream, *delta),
            Frame::Settings(settings) => {
                head(output, SETTINGS, 0, 4 + settings.len() * 8);
                output.put_u32(u32::try_from(settings.len()).unwrap_or(0));
                for (id, value) in settings {
                    output.put_u32(*id);
                    output.put_u32(*value);
                }
            }
            Frame::Ping(id) => {
                head(output, PING, 0, 4);
                output.put_u32(*id);
            }
            Frame::Data { stream, fin, data } => {
                output.put_u32(stream & LOW_31);
                put_length(output, if *fin { FIN } else { 0 }, data.len());
                output.extend_from_slice(data);
            }
        }
    }

    fn with_headers(&mut self, kind: u16, stream: u32, fin: bool, headers: &Headers, output: &mut BytesMut) {
        let block = self.pack.block(headers);
        head(output, kind, if fin { FIN } else { 0 }, 4 + block.len());
        output.put_u32(stream);
        output.extend_from_slice(&block);
    }
}

fn head(output: &mut BytesMut, kind: u16, flags: u8, length: usize) {
    output.put_u16(VERSION | 0x8000);
    output.put_u16(kind);
    put_length(output, flags, length);
}

fn put_length(output: &mut BytesMut, flags: u8, length: usize) {
    output.put_u32(u32::from(flags) << 24 | u32::try_from(length).unwrap_or(u32::MAX) & 0x00ff_ffff);
}

fn pair(output: &mut BytesMut, kind: u16, first: u32, second: u32) {
    head(output, kind, 0, 8);
    output.put_u32(first);
    output.put_u32(second);
}
