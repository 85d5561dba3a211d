//! How a machine that joins finds its cluster, and makes sure that it is the right one.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use api::bootstrap::{CLUSTER_INFO, Token};
use cluster::discovery::{self, Discovered, DiscoveryError};
use http::Uri;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use crate::problem::{During, Problem};

const PORT: u16 = 6443;
const REACH: Duration = Duration::from_secs(5);
/// A token that was just made signs in a moment.
const SIGNED: Duration = Duration::from_secs(3);
const ASK: Duration = Duration::from_millis(100);

/// Where the API of a cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint(String);

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let host = text.trim_start_matches("https://").trim_end_matches('/');
        let parsed: http::uri::Authority =
            host.parse().map_err(|_| format!("'{text}' is no ADDRESS:PORT; try 192.0.2.1:{PORT}"))?;
        Ok(Self(if parsed.port().is_some() { host.to_owned() } else { format!("{host}:{PORT}") }))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Endpoint {
    /// The same as a URL.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.0)
    }
}

/// A client of the cluster. Without a CA it believes anybody, which is for what is signed otherwise.
pub(crate) fn client(endpoint: &Endpoint, ca: Option<&str>, token: Option<&Token>) -> Result<kube::Client, Problem> {
    let uri: Uri = endpoint.url().parse().during(format!("'{endpoint}' is no ADDRESS:PORT"))?;
    let mut config = kube::Config::new(uri);
    config.connect_timeout = Some(REACH);
    config.accept_invalid_certs = ca.is_none();
    config.root_cert = ca.and_then(discovery::der).map(|der| vec![der]);
    config.auth_info.token = token.map(|token| token.text().into());
    kube::Client::try_from(config).during("cannot prepare the connection")
}

/// Asks anybody who answers, and believes what is signed with the token; then asks again, believing the CA only.
pub(crate) async fn discover(endpoint: &Endpoint, token: &Token, pins: &[String]) -> Result<Discovered, Problem> {
    reach(endpoint).await?;
    let anybody = client(endpoint, None, None)?;
    let until = tokio::time::Instant::now() + SIGNED;
    let found = loop {
        match discovery::discover(&published(&anybody, endpoint).await?, token, pins) {
            Ok(found) => break found,
            Err(DiscoveryError::UnknownToken { .. }) if tokio::time::Instant::now() < until => {
                tokio::time::sleep(ASK).await;
            }
            Err(error) => return Err(Problem::new(error.to_string())),
        }
    };
    let trusted = client(endpoint, Some(&found.ca), None)?;
    published(&trusted, endpoint).await.map_err(|_| {
        Problem::new(format!(
            "{endpoint} shows no certificate of the cluster's authority for this address; use the address that 'oxikube token create --print-join-command' prints"
        ))
    })?;
    Ok(found)
}

/// Says plainly when nobody is there.
async fn reach(endpoint: &Endpoint) -> Result<(), Problem> {
    let why = match tokio::time::timeout(REACH, tokio::net::TcpStream::connect(&endpoint.0)).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", REACH.as_secs()),
    };
    Err(Problem::new(format!(
        "{endpoint} cannot be reached ({why}); is the cluster up, is the address right, does a firewall let this port through?"
    )))
}

async fn published(
    client: &kube::Client,
    endpoint: &Endpoint,
) -> Result<std::collections::BTreeMap<String, String>, Problem> {
    let map = Api::<ConfigMap>::namespaced(client.clone(), "kube-public").get(CLUSTER_INFO).await;
    let map = map.during(format!("{endpoint} does not answer as a cluster does"))?;
    Ok(map.data.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_may_be_left_out() {
        let read = |text: &str| text.parse::<Endpoint>().map(|endpoint| endpoint.to_string());
        assert_eq!(read("192.0.2.1"), Ok("192.0.2.1:6443".into()));
        assert_eq!(read("https://api.example.com:7443/"), Ok("api.example.com:7443".into()));
        assert_eq!(read("[2001:db8::1]:6443"), Ok("[2001:db8::1]:6443".into()));
        assert!(read("no where").is_err());
    }
}
