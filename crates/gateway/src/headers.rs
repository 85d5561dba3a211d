//! What a gateway changes of a request and of a response. Pure.

use std::net::IpAddr;

use http::header::{CONNECTION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};
use http::{Method, Request, Version, uri::Authority};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Who asks, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub address: IpAddr,
    pub is_tls: bool,
    /// The port that it came to.
    pub port: u16,
}

/// The host that a request is for, as it was given.
pub(crate) fn host<B>(request: &Request<B>) -> Option<&str> {
    match request.uri().authority() {
        Some(authority) => Some(authority.as_str()),
        None => request.headers().get(HOST)?.to_str().ok().filter(|host| !host.is_empty()),
    }
}

/// A host without its port and the dot at its end, in lower case.
pub(crate) fn bare(host: &str) -> Option<String> {
    let authority: Authority = host.parse().ok()?;
    Some(authority.host().trim_end_matches('.').to_ascii_lowercase())
}

/// What the connection is to become, if the client asks for that.
pub(crate) fn upgrade<B>(request: &Request<B>) -> Option<HeaderValue> {
    let asked = tokens(request.headers()).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let fits = request.version() == Version::HTTP_11 && request.method() != Method::CONNECT;
    request.headers().get(UPGRADE).filter(|_| asked && fits).cloned()
}

fn tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// Takes away what is about one connection only.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(headers).filter_map(|token| token.parse().ok()).collect();
    // gRPC asks for trailers that way, and they are passed on.
    let trailers = headers.get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    for name in named.iter().chain(&[CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE]) {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// The headers of a request on its way to a backend. What the client says about who it is does not count.
pub(crate) fn outgoing(headers: &mut HeaderMap, peer: Peer, host: &str, upgrade: Option<&HeaderValue>) {
    strip(headers);
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    }
    join_cookies(headers);
    headers.remove("forwarded");
    let scheme = if peer.is_tls { "https" } else { "http" };
    let address = peer.address.to_string();
    let said = [
        (HOST, host),
        (HeaderName::from_static("x-forwarded-for"), &address),
        (HeaderName::from_static("x-real-ip"), &address),
        (HeaderName::from_static("x-forwarded-host"), host),
        (HeaderName::from_static("x-forwarded-port"), &peer.port.to_string()),
        (HeaderName::from_static("x-forwarded-proto"), scheme),
    ];
    for (name, value) in said {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
}

/// HTTP/2 has a field for each cookie, HTTP/1.1 one for all.
fn join_cookies(headers: &mut HeaderMap) {
    let all: Vec<&[u8]> = headers.get_all(COOKIE).into_iter().map(HeaderValue::as_bytes).collect();
    if all.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..]))
    {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: Peer = Peer { address: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), is_tls: true, port: 443 };

    fn request(fields: &[(&str, &str)]) -> Request<()> {
        let mut builder = Request::get("/x");
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap()
    }

    #[test]
    fn the_host_is_compared_without_port_and_case() {
        assert_eq!(host(&request(&[("host", "Shop.Example:8080")])), Some("Shop.Example:8080"));
        assert_eq!(bare("Shop.Example:8080").as_deref(), Some("shop.example"));
        assert_eq!(bare("shop.example.").as_deref(), Some("shop.example"));
        assert_eq!(bare("[2001:db8::1]:80").as_deref(), Some("[2001:db8::1]"));
        assert_eq!(bare("a b"), None);
        let absolute = Request::get("http://a.example/x").header("host", "b.example").body(()).unwrap();
        assert_eq!(host(&absolute), Some("a.example"));
        assert_eq!(host(&request(&[])), None);
    }

    #[test]
    fn what_is_about_the_connection_stays_behind() {
        let mut headers = request(&[
            ("connection", "keep-alive, X-Secret"),
            ("keep-alive", "timeout=5"),
            ("x-secret", "1"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("accept", "*/*"),
        ])
        .headers()
        .clone();
        strip(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "te"]);
    }

    #[test]
    fn a_backend_hears_who_asks_and_not_what_that_one_claims() {
        let mut headers =
            request(&[("x-forwarded-for", "203.0.113.1"), ("forwarded", "for=203.0.113.1")]).headers().clone();
        outgoing(&mut headers, PEER, "shop.example:443", None);
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(text("x-forwarded-for"), Some("192.0.2.7"));
        assert_eq!(text("x-forwarded-proto"), Some("https"));
        assert_eq!(text("x-forwarded-port"), Some("443"));
        assert_eq!(text("host"), Some("shop.example:443"));
        assert_eq!(text("forwarded"), None);
    }

    #[test]
    fn an_upgrade_is_passed_on() {
        let asks = request(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        let protocol = upgrade(&asks).unwrap();
        let mut headers = asks.headers().clone();
        outgoing(&mut headers, PEER, "h", Some(&protocol));
        assert_eq!(headers.get(UPGRADE).unwrap(), "websocket");
        assert_eq!(headers.get(CONNECTION).unwrap(), "upgrade");
        assert!(upgrade(&request(&[("upgrade", "websocket")])).is_none());
        assert!(upgrade(&request(&[("connection", "close")])).is_none());
    }

    #[test]
    fn cookies_are_one_field() {
        let mut headers = request(&[("cookie", "a=1"), ("cookie", "b=2")]).headers().clone();
        outgoing(&mut headers, PEER, "h", None);
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    }
}
