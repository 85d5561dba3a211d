//! SPDY/3.1: many streams of bytes over one connection.
//!
//! [`frame`](crate::frame) turns bytes into frames and back, without I/O; [`Connection`] carries streams. Either end can
//! be client or server. What HTTP would do with the streams is left out: headers are plain pairs.

mod connection;
mod dictionary;
mod frame;
mod headers;
mod stream;

pub use connection::{Connection, Role};
pub use frame::{Decoder, Frame, FrameError};
pub use headers::Headers;
pub use stream::Stream;

/// Why a stream is reset.
pub mod status {
    /// A rule was broken.
    pub const PROTOCOL_ERROR: u32 = 1;
    /// For a stream that is not there.
    pub const INVALID_STREAM: u32 = 2;
    /// There are too many streams.
    pub const REFUSED_STREAM: u32 = 3;
    /// Nobody needs it any more.
    pub const CANCEL: u32 = 5;
    /// Data after the end.
    pub const STREAM_ALREADY_CLOSED: u32 = 9;
}
