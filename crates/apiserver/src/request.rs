//! What a request asks for, read off its method and path.

use std::collections::HashMap;

use http::Method;

/// A request for a resource (`/api/v1/…`, `/apis/group/version/…`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ResourceRequest {
    /// `create`, `get`, `list`, `watch`, `update`, `patch`, `delete`, `deletecollection`.
    pub(crate) verb: &'static str,
    pub(crate) group: String,
    pub(crate) version: String,
    /// Empty for cluster-wide requests.
    pub(crate) namespace: String,
    pub(crate) resource: String,
    /// Empty for collections.
    pub(crate) name: String,
    /// Empty for the resource itself.
    pub(crate) subresource: String,
    /// What follows the subresource (proxies).
    pub(crate) rest: String,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RequestInfo {
    Resource(ResourceRequest),
    /// Anything else: discovery, health, version.
    Path {
        verb: &'static str,
        path: String,
    },
}

/// Query parameters, decoded; of several with the same name the first counts, except for `command`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(HashMap<String, String>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let mut map = HashMap::new();
        for pair in query.unwrap_or_default().split('&').filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            map.entry(decode(key)).or_insert_with(|| decode(value));
        }
        Self(map)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// Whether the parameter is there, with or without a value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// A number; an error where there is something else.
    pub(crate) fn number(&self, key: &str) -> Result<Option<i64>, api::ApiError> {
        let Some(text) = self.get(key) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| api::ApiError::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax")))
    }

    pub(crate) fn flag(&self, key: &str) -> bool {
        matches!(self.0.get(key).map(String::as_str), Some("true" | "1" | "True"))
    }
}

/// Percent- and plus-decoding; what is not valid stays as it is.
pub(crate) fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'+' => out.push(b' '),
            b'%' => {
                let ahead = bytes.clone();
                let digits: Vec<u8> = ahead.take(2).collect();
                match std::str::from_utf8(&digits).ok().and_then(|d| u8::from_str_radix(d, 16).ok()) {
                    Some(byte) if digits.len() == 2 => {
                        out.push(byte);
                        bytes.nth(1);
                    }
                    _ => out.push(b),
                }
            }
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn path_decode(text: &str) -> String {
    decode(&text.replace('+', "%2B"))
}

impl RequestInfo {
    /// Reads method, path and query as upstream's request-info resolver does.
    pub(crate) fn parse(method: &Method, path: &str, query: &Query) -> Self {
        let segments: Vec<&str> = path.trim_matches('/').split('/').filter(|s| !s.is_empty()).collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Self::path(method, path),
        };
        if rest.is_empty() {
            return Self::path(method, path);
        }
        let (watch_prefix, rest) = match rest {
            ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
            rest => (false, rest),
        };
        let mut request =
            ResourceRequest { group: group.into(), version: version.into(), ..ResourceRequest::default() };
        let tail = match rest {
            ["namespaces", name] => {
                request.namespace = path_decode(name);
                &["namespaces", *name][..]
            }
            ["namespaces", name, sub @ ("status" | "finalize")] => {
                request.namespace = path_decode(name);
                &["namespaces", *name, *sub][..]
            }
            ["namespaces", namespace, tail @ ..] => {
                request.namespace = path_decode(namespace);
                tail
            }
            tail => tail,
        };
        if let [resource, more @ ..] = tail {
            request.resource = path_decode(resource);
            if let [name, more @ ..] = more {
                request.name = path_decode(name);
                if let [sub, more @ ..] = more {
                    request.subresource = path_decode(sub);
                    request.rest = rest_of_path(path, more.len());
                }
            }
        }
        request.verb = resource_verb(method, &request, query, watch_prefix);
        Self::Resource(request)
    }

    fn path(method: &Method, path: &str) -> Self {
        Self::Path { verb: method_verb(method), path: path.to_owned() }
    }
}

/// The last `segments` segments of a path as they were sent, with a trailing slash kept.
fn rest_of_path(path: &str, segments: usize) -> String {
    if segments == 0 {
        return if path.ends_with('/') { "/".into() } else { String::new() };
    }
    let trimmed = path.trim_end_matches('/');
    let start = trimmed.rmatch_indices('/').nth(segments - 1).map_or(0, |(i, _)| i);
    path.get(start..).unwrap_or_default().to_owned()
}

fn method_verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::HEAD => "head",
        Method::OPTIONS => "options",
        Method::GET => "get",
        _ => "unknown",
    }
}

fn resource_verb(method: &Method, request: &ResourceRequest, query: &Query, watch_prefix: bool) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if request.name.is_empty() => "deletecollection",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        ref other if !matches!(*other, Method::GET | Method::HEAD) => "unknown",
        _ if !request.subresource.is_empty() => "get",
        _ if watch_prefix || (query.flag("watch") && watches(request, query)) => "watch",
        _ if request.name.is_empty() => "list",
        _ => "get",
    }
}

/// `?watch=true` on a single object is a get, except that upstream lets a name be watched through a field selector.
fn watches(request: &ResourceRequest, _query: &Query) -> bool {
    request.name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: Method, uri: &str) -> RequestInfo {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        RequestInfo::parse(&method, path, &Query::parse(Some(query)))
    }

    fn resource(method: Method, uri: &str) -> String {
        match parse(method, uri) {
            RequestInfo::Resource(r) => {
                format!(
                    "{} {}|{}|{}|{}|{}|{}|{}",
                    r.verb, r.group, r.version, r.namespace, r.resource, r.name, r.subresource, r.rest
                )
            }
            RequestInfo::Path { verb, path } => format!("{verb} {path}"),
        }
    }

    #[test]
    fn requests_as_upstream_reads_them() {
        for (method, uri, expected) in [
            (Method::GET, "/api/v1/pods", "list |v1||pods|||"),
            (Method::GET, "/api/v1/namespaces", "list |v1||namespaces|||"),
            (Method::GET, "/api/v1/namespaces/a", "get |v1|a|namespaces|a||"),
            (Method::PUT, "/api/v1/namespaces/a/finalize", "update |v1|a|namespaces|a|finalize|"),
            (Method::GET, "/api/v1/namespaces/a/pods?watch=true", "watch |v1|a|pods|||"),
            (Method::GET, "/api/v1/watch/namespaces/a/pods", "watch |v1|a|pods|||"),
            (Method::DELETE, "/apis/apps/v1/namespaces/a/deployments", "deletecollection apps|v1|a|deployments|||"),
            (Method::PATCH, "/apis/apps/v1/namespaces/a/deployments/d/scale", "patch apps|v1|a|deployments|d|scale|"),
            (Method::GET, "/api/v1/nodes/n/proxy/metrics/", "get |v1||nodes|n|proxy|/metrics/"),
            (Method::POST, "/api/v1/namespaces/a/pods/p/exec", "create |v1|a|pods|p|exec|"),
            (Method::GET, "/apis/apps/v1", "get /apis/apps/v1"),
            (Method::GET, "/apis", "get /apis"),
            (Method::GET, "/readyz", "get /readyz"),
            (
                Method::GET,
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
                "get rbac.authorization.k8s.io|v1||clusterroles|system:node||",
            ),
        ] {
            assert_eq!(resource(method, uri), expected, "{uri}");
        }
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse(Some("labelSelector=app%3Dweb%2Ctier+in+%28a%29&watch=1&bad=%zz"));
        assert_eq!(query.get("labelSelector"), Some("app=web,tier in (a)"));
        assert!(query.flag("watch"));
        assert_eq!(query.get("bad"), Some("%zz"));
    }
}
