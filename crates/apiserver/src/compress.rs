//! gzip for large answers.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt;
use http::{HeaderValue, header};
use http_body_util::BodyExt;

use crate::body::{Answer, BoxError, stream};

/// Smaller first chunks are not worth it.
const WORTH: usize = 128 << 10;

/// Wraps an answer's body so that it is compressed while it is sent, if its first chunk is large.
pub(crate) fn gzip(answer: Answer) -> Answer {
    let (mut parts, body) = answer.into_parts();
    if body.size_hint_upper().is_some_and(|size| size < WORTH as u64) {
        return Answer::from_parts(parts, body);
    }
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let chunks = futures::stream::unfold(Some((body.into_data_stream(), encoder)), |state| async move {
        let (mut data, mut encoder) = state?;
        loop {
            match data.next().await {
                Some(Ok(chunk)) => {
                    if let Err(error) = encoder.write_all(&chunk) {
                        return Some((Err(BoxError::from(error)), None));
                    }
                    let ready = std::mem::take(encoder.get_mut());
                    if !ready.is_empty() {
                        return Some((Ok(Bytes::from(ready)), Some((data, encoder))));
                    }
                }
                Some(Err(error)) => return Some((Err(error), None)),
                None => return Some((encoder.finish().map(Bytes::from).map_err(BoxError::from), None)),
            }
        }
    });
    Answer::from_parts(parts, stream(chunks))
}

trait SizeHint {
    fn size_hint_upper(&self) -> Option<u64>;
}

impl SizeHint for crate::body::Body {
    fn size_hint_upper(&self) -> Option<u64> {
        http_body::Body::size_hint(self).upper()
    }
}
