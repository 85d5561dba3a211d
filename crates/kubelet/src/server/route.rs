//! From a path to what is asked for.

/// A container, or a pod when the container is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Target {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) uid: Option<String>,
    pub(crate) container: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Healthz,
    Pods,
    Metrics,
    ResourceMetrics,
    CadvisorMetrics,
    Summary,
    Configz,
    NodeLogs,
    ContainerLogs(Target),
    Exec(Target),
    Attach(Target),
    PortForward(Target),
    Unknown,
}

impl Route {
    pub(crate) fn parse(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match parts.as_slice() {
            ["healthz", ..] => Self::Healthz,
            ["pods"] => Self::Pods,
            ["metrics", "resource"] => Self::ResourceMetrics,
            ["metrics", "cadvisor"] => Self::CadvisorMetrics,
            ["metrics", ..] => Self::Metrics,
            ["stats", "summary"] => Self::Summary,
            ["configz"] => Self::Configz,
            ["logs", ..] => Self::NodeLogs,
            ["containerLogs", rest @ ..] => container(rest).map_or(Self::Unknown, Self::ContainerLogs),
            ["exec", rest @ ..] => container(rest).map_or(Self::Unknown, Self::Exec),
            ["attach", rest @ ..] => container(rest).map_or(Self::Unknown, Self::Attach),
            ["portForward", rest @ ..] => pod(rest).map_or(Self::Unknown, Self::PortForward),
            _ => Self::Unknown,
        }
    }

    /// Subresources of the node that give access, the narrower first.
    pub(crate) fn subresources(&self) -> &'static [&'static str] {
        match self {
            Self::Healthz => &["healthz", "proxy"],
            Self::Pods => &["pods", "proxy"],
            Self::Configz => &["configz", "proxy"],
            Self::Metrics | Self::ResourceMetrics | Self::CadvisorMetrics => &["metrics"],
            Self::Summary => &["stats"],
            Self::NodeLogs => &["log"],
            _ => &["proxy"],
        }
    }
}

fn container(parts: &[&str]) -> Option<Target> {
    match parts {
        [namespace, pod, container] => Some(target(namespace, pod, None, container)),
        [namespace, pod, uid, container] => Some(target(namespace, pod, Some(uid), container)),
        _ => None,
    }
}

fn pod(parts: &[&str]) -> Option<Target> {
    match parts {
        [namespace, pod] => Some(target(namespace, pod, None, "")),
        [namespace, pod, uid] => Some(target(namespace, pod, Some(uid), "")),
        _ => None,
    }
}

fn target(namespace: &str, pod: &str, uid: Option<&str>, container: &str) -> Target {
    Target {
        namespace: namespace.to_owned(),
        pod: pod.to_owned(),
        uid: uid.map(str::to_owned),
        container: container.to_owned(),
    }
}

/// The values of a query parameter, decoded.
pub(crate) fn values(uri: &http::Uri, name: &str) -> Vec<String> {
    let query = uri.query().unwrap_or_default();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('=').or(Some((pair, ""))));
    pairs.filter(|(key, _)| decode(key) == name).map(|(_, value)| decode(value)).collect()
}

pub(crate) fn value(uri: &http::Uri, name: &str) -> Option<String> {
    values(uri, name).into_iter().next().filter(|value| !value.is_empty())
}

pub(crate) fn flag(uri: &http::Uri, name: &str) -> bool {
    value(uri, name).is_some_and(|value| matches!(value.as_str(), "1" | "true" | "True" | "t"))
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let hex = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_parameters_are_read() {
        let expected = target("ns", "p", Some("u"), "c");
        assert_eq!(Route::parse("/exec/ns/p/u/c"), Route::Exec(expected));
        assert_eq!(Route::parse("/portForward/ns/p"), Route::PortForward(target("ns", "p", None, "")));
        assert_eq!(Route::parse("/containerLogs/ns/p"), Route::Unknown);
        let uri: http::Uri = "/x?command=a%20b&command=%2Fc+d&tty=1".parse().unwrap();
        assert_eq!(values(&uri, "command"), ["a b", "/c d"]);
        assert!(flag(&uri, "tty") && !flag(&uri, "stdin"));
    }
}
