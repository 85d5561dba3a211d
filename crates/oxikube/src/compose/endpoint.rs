//! Which container engine a node uses.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// An engine, as `--container-runtime-endpoint` names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// The one that is built in.
    #[default]
    Native,
    /// Whoever speaks CRI on this socket.
    Cri(PathBuf),
    /// Docker Engine on this socket.
    Docker(PathBuf),
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, path) = text.split_once("://").unwrap_or(("unix", text));
        match scheme {
            _ if text.is_empty() || text == "native" => Ok(Self::Native),
            _ if !path.starts_with('/') => Err(format!("'{path}' is not an absolute path")),
            "unix" => Ok(Self::Cri(path.into())),
            "docker" => Ok(Self::Docker(path.into())),
            other => Err(format!(
                "'{other}' is no kind of engine; try unix:///run/containerd/containerd.sock or docker:///run/docker.sock"
            )),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native => f.write_str("native"),
            Self::Cri(path) => write!(f, "unix://{}", path.display()),
            Self::Docker(path) => write!(f, "docker://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_reads_as_it_is_written() {
        for text in ["native", "unix:///run/containerd/containerd.sock", "docker:///run/docker.sock"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert_eq!("/run/x.sock".parse(), Ok(Endpoint::Cri("/run/x.sock".into())));
        assert!("tcp:///x".parse::<Endpoint>().is_err() && "unix://x".parse::<Endpoint>().is_err());
    }
}
