//! The store of an API server: the embedded one in the data directory, or an etcd cluster.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use storage::Store;
use storage::embedded::{self, Embedded};
use storage::etcd::{self, Etcd, Tls};

use crate::problem::{During, Problem, file};

/// Flags of kube-apiserver about etcd.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct EtcdArgs {
    /// Members of an etcd cluster that takes the place of the embedded store, the nearest first
    #[arg(long, value_delimiter = ',', value_name = "URL,…")]
    pub(crate) etcd_servers: Vec<String>,
    /// CA of the members' certificates
    #[arg(long, value_name = "FILE", requires = "etcd_servers")]
    pub(crate) etcd_cafile: Option<PathBuf>,
    /// Certificate shown to etcd
    #[arg(long, value_name = "FILE", requires = "etcd_keyfile")]
    pub(crate) etcd_certfile: Option<PathBuf>,
    /// Key of that certificate
    #[arg(long, value_name = "FILE", requires = "etcd_certfile")]
    pub(crate) etcd_keyfile: Option<PathBuf>,
    /// Prefix of all keys in etcd
    #[arg(long, default_value = "/registry", value_name = "PREFIX")]
    pub(crate) etcd_prefix: String,
}

impl EtcdArgs {
    /// Members beside the masters at these addresses, the one at `own` first; what is shown to them is below the folder `pki`.
    pub(crate) fn of_members(pki: &Path, own: IpAddr, all: impl IntoIterator<Item = IpAddr>) -> Self {
        let mut addresses: Vec<IpAddr> = all.into_iter().collect();
        addresses.sort_by_key(|address| *address != own);
        let key = |name: &str| Some(pki.join(name));
        Self {
            etcd_servers: addresses.into_iter().map(cluster::etcd::client_url).collect(),
            etcd_cafile: key("etcd/ca.crt"),
            etcd_certfile: key("apiserver-etcd-client.crt"),
            etcd_keyfile: key("apiserver-etcd-client.key"),
            etcd_prefix: "/registry".into(),
        }
    }

    /// Whether there is an etcd cluster.
    pub(crate) fn is_given(&self) -> bool {
        !self.etcd_servers.is_empty()
    }

    /// The engine's settings.
    pub(crate) fn options(&self) -> Result<etcd::Options, Problem> {
        let read = |path: &PathBuf| std::fs::read_to_string(path).map_err(|e| file(path, &e));
        let identity = match (&self.etcd_certfile, &self.etcd_keyfile) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
            _ => None,
        };
        let ca = self.etcd_cafile.as_ref().map(read).transpose()?;
        let tls = (ca.is_some() || identity.is_some()).then_some(Tls { ca, identity });
        Ok(etcd::Options {
            endpoints: self.etcd_servers.clone(),
            tls,
            prefix: self.etcd_prefix.clone(),
            decode: apiserver::decode_stored,
            ..etcd::Options::default()
        })
    }

    /// The same flags again.
    pub(crate) fn to_arguments(&self) -> Vec<String> {
        let mut list = Vec::new();
        if self.is_given() {
            list.push(format!("--etcd-servers={}", self.etcd_servers.join(",")));
            list.push(format!("--etcd-prefix={}", self.etcd_prefix));
        }
        for (flag, path) in
            [("cafile", &self.etcd_cafile), ("certfile", &self.etcd_certfile), ("keyfile", &self.etcd_keyfile)]
        {
            list.extend(path.as_ref().map(|p| format!("--etcd-{flag}={}", p.display())));
        }
        list
    }
}

/// Opens the store that the flags name; `folder` is the embedded one's. State in etcd has to be that of the cluster of these
/// certificate authorities, PEM.
pub(crate) async fn open(args: &EtcdArgs, folder: &Path, authorities: &str) -> Result<Arc<dyn Store>, Problem> {
    if args.is_given() {
        let options = etcd::Options { cluster: cluster::pki::fingerprints(authorities), ..args.options()? };
        let store = Etcd::open(&options).await.during("cannot open the store")?;
        return Ok(Arc::new(store));
    }
    let store = Embedded::open(folder, &embedded::Options::default()).during("cannot open the store")?;
    Ok(Arc::new(store))
}
