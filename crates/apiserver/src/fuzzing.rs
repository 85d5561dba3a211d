//! Doors for the fuzz targets.

/// Reads a request's body: it is understood or refused.
pub fn body(content_type: &'static str, body: &[u8]) {
    let mut headers = http::HeaderMap::new();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    // Which of the two does not matter here, only that it comes back.
    drop(crate::negotiate::decode_strictly(&headers, body));
}
