//! Bodies of requests and answers.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use api::ApiError;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use parking_lot::Mutex;
use serde_json::Value;

/// Any error that ends a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A body, in memory or streamed.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;
/// An answer.
pub type Answer = Response<Body>;

/// Largest request body: upstream's 3 MiB.
pub(crate) const MAX_BODY: usize = 3 << 20;
/// A client that does not get its body across in this time is cut off.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How much of an unread body is taken in, and how long that may last.
const DRAINED: usize = 64 << 10;
const DRAIN_TIMEOUT: Duration = Duration::from_millis(200);

/// A body from bytes.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body from a stream of chunks.
pub(crate) fn stream<S>(chunks: S) -> Body
where
    S: futures::Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
{
    use futures::StreamExt;
    StreamBody::new(chunks.map(|c| c.map(http_body::Frame::data))).boxed_unsync()
}

/// Reads a request body within limits.
pub(crate) async fn read<B>(body: B) -> Result<Bytes, ApiError>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    let limited = std::pin::pin!(Limited::new(body, MAX_BODY));
    match tokio::time::timeout(BODY_TIMEOUT, limited.collect()).await {
        Err(_) => Err(ApiError::timeout("timed out reading the request body")),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(ApiError::too_large(format!("limit is {MAX_BODY}")))
        }
        Ok(Err(error)) => Err(ApiError::bad_request(format!("error reading the request body: {error}"))),
    }
}

/// A request's body that can still be reached when whoever was to read it has not: an answer that overtakes the body
/// makes some HTTP/2 clients see a broken stream instead of the answer.
pub(crate) struct Shared<B>(Arc<Mutex<Pin<Box<B>>>>);

impl<B> Shared<B>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
{
    pub(crate) fn new(body: B) -> Self {
        Self(Arc::new(Mutex::new(Box::pin(body))))
    }

    pub(crate) fn another(&self) -> Self {
        Self(self.0.clone())
    }

    /// Takes in what is left, if it is little and comes soon.
    pub(crate) async fn drain(self) {
        if http_body::Body::is_end_stream(&self) {
            return;
        }
        let limited = std::pin::pin!(Limited::new(self, DRAINED));
        // What does not come is not waited for: the connection tells the client.
        drop(tokio::time::timeout(DRAIN_TIMEOUT, limited.collect()).await);
    }
}

impl<B: http_body::Body> http_body::Body for Shared<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<B::Data>, B::Error>>> {
        self.0.lock().as_mut().poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.lock().size_hint()
    }
}

/// An answer of JSON bytes.
pub(crate) fn json_bytes(code: StatusCode, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    answer
}

/// An answer of a JSON tree.
pub(crate) fn json(code: StatusCode, value: &Value) -> Answer {
    let mut bytes = value.to_string();
    bytes.push('\n');
    json_bytes(code, full(bytes))
}

/// An answer of plain text.
pub(crate) fn text(code: StatusCode, text: impl Into<String>) -> Answer {
    let mut answer = Response::new(full(text.into()));
    *answer.status_mut() = code;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// The answer that an error becomes.
pub(crate) fn error(error: &ApiError) -> Answer {
    let code = StatusCode::from_u16(error.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = json(code, &error.to_status());
    let retry = error.details.as_ref().and_then(|d| d.get("retryAfterSeconds")).and_then(Value::as_u64);
    if let Some(seconds) = retry {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    answer
}

/// Adds a warning that kubectl prints.
pub(crate) fn warn(answer: &mut Answer, warning: &str) {
    let text: String = warning.chars().filter(|c| !c.is_control()).collect();
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
        answer.headers_mut().append(header::WARNING, value);
    }
}
