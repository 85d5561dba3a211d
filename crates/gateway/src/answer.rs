//! What the gateway says itself: plain text, and why.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};

/// What goes back to a client: a backend's body, or a line of the gateway's.
pub(crate) type Body = Either<Incoming, Full<Bytes>>;

/// An answer of the gateway's own, as `404 Not Found: no Ingress ...`.
pub(crate) fn answer(status: StatusCode, why: &str) -> Response<Body> {
    let text = format!("{status}: {why}\n");
    let mut response = Response::new(Either::Right(Full::new(Bytes::from(text))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
