//! Streams over one connection whose other end speaks SPDY/3.1 as client.

use crate::Duplex;

/// SPDY over any connection.
pub(super) fn over(io: impl Duplex + 'static) -> spdy::Connection {
    spdy::Connection::new(io, spdy::Role::Server)
}

/// The first value of a header that a stream was opened with.
pub(super) fn header<'a>(stream: &'a spdy::Stream, name: &str) -> Option<&'a str> {
    stream.headers().iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}
