//! Certificates of an etcd cluster and of the API servers that use it, in the files that kubeadm uses.
//!
//! etcd knows no rights: whoever shows a certificate of its CA reads and writes everything. So it has a CA of its own, and
//! none of the certificates that the cluster's CA gives to users and nodes opens it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use crate::pki::{Leaf, Pki, PkiError};

/// Makes `etcd/ca`, `etcd/server`, `etcd/peer` and `apiserver-etcd-client` below the folder `pki`, for members at these
/// addresses (and on loopback). What is there and sound stays.
///
/// # Errors
/// When files cannot be read or written, or are not keys and certificates.
pub fn furnish(pki: &Path, members: &[IpAddr]) -> Result<(), PkiError> {
    let own = Pki::open_ca(&pki.join("etcd"), "etcd-ca")?;
    let member = |name: &str| Leaf {
        name: name.into(),
        dns_names: vec!["localhost".into()],
        addresses: [IpAddr::V4(Ipv4Addr::LOCALHOST)].into_iter().chain(members.iter().copied()).collect(),
        // Members are each other's clients, and their HTTP gateway is a client of their own gRPC door.
        also_client: true,
        ..Leaf::default()
    };
    own.leaf("server", &member("kube-etcd"))?;
    own.leaf("peer", &member("kube-etcd-peer"))?;
    own.leaf_in(pki, "apiserver-etcd-client", &Leaf::client("kube-apiserver-etcd-client", &[]))?;
    Ok(())
}

/// Ports of a member, for clients and for its peers.
const CLIENTS: u16 = 2379;
const PEERS: u16 = 2380;

/// Where a member at this address answers the API servers.
pub fn client_url(member: IpAddr) -> String {
    format!("https://{}", SocketAddr::new(member, CLIENTS))
}

/// Where a member at this address is reached by its peers.
pub fn peer_url(member: IpAddr) -> String {
    format!("https://{}", SocketAddr::new(member, PEERS))
}

/// The address of a member that is reached there.
pub fn peer_address(url: &str) -> Option<IpAddr> {
    url.strip_prefix("https://")?.parse::<SocketAddr>().ok().map(|address| address.ip())
}

/// The argument with which a member is added to a cluster that is there.
pub const EXISTING: &str = "--initial-cluster-state=existing";

/// The ports that a member takes.
pub const PORTS: [u16; 2] = [CLIENTS, PEERS];

/// etcd's command line for a member with its data in `data`, its certificates below `pki`, and these members in all: name and
/// address.
pub fn arguments(name: &str, address: IpAddr, data: &Path, pki: &Path, all: &[(String, IpAddr)]) -> Vec<String> {
    let peers: Vec<String> = all.iter().map(|(name, address)| format!("{name}={}", peer_url(*address))).collect();
    let file = |flag: &str, name: &str| format!("--{flag}={}", pki.join("etcd").join(name).display());
    vec![
        format!("--name={name}"),
        data_argument(data),
        format!("--initial-cluster={}", peers.join(",")),
        format!("--listen-client-urls={}", client_url(address)),
        format!("--advertise-client-urls={}", client_url(address)),
        format!("--listen-peer-urls={}", peer_url(address)),
        format!("--initial-advertise-peer-urls={}", peer_url(address)),
        file("cert-file", "server.crt"),
        file("key-file", "server.key"),
        file("trusted-ca-file", "ca.crt"),
        "--client-cert-auth".into(),
        file("peer-cert-file", "peer.crt"),
        file("peer-key-file", "peer.key"),
        file("peer-trusted-ca-file", "ca.crt"),
        "--peer-client-cert-auth".into(),
        "--logger=zap".into(),
        "--log-level=warn".into(),
    ]
}

/// The argument by which a member's process is told from others.
pub fn data_argument(data: &Path) -> String {
    format!("--data-dir={}", data.display())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use x509_parser::prelude::*;

    use super::*;

    /// Whether a certificate was signed by a CA, and what it may be used as: server, client.
    fn looked_at(certificate: &Path, ca: &Path) -> (bool, bool, bool) {
        let (certificate, ca) = (fs::read(certificate).unwrap(), fs::read(ca).unwrap());
        let (certificate, ca) = (parse_x509_pem(&certificate).unwrap().1, parse_x509_pem(&ca).unwrap().1);
        let (certificate, ca) = (certificate.parse_x509().unwrap(), ca.parse_x509().unwrap());
        let usage = certificate.extended_key_usage().unwrap().unwrap().value;
        (certificate.verify_signature(Some(ca.public_key())).is_ok(), usage.server_auth, usage.client_auth)
    }

    #[test]
    fn etcd_trusts_a_ca_of_its_own_and_its_members_are_servers_and_clients() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        Pki::open(folder.path()).unwrap();
        furnish(folder.path(), &["192.0.2.1".parse().unwrap()]).unwrap();
        for member in ["etcd/server.crt", "etcd/peer.crt"] {
            assert_eq!(looked_at(&file(member), &file("etcd/ca.crt")), (true, true, true), "{member}");
        }
        let client = file("apiserver-etcd-client.crt");
        assert_eq!(looked_at(&client, &file("etcd/ca.crt")), (true, false, true));
        assert!(!looked_at(&client, &file("ca.crt")).0, "the cluster's CA does not open etcd");
        assert!(!file("etcd/sa.key").exists());
    }

    #[test]
    fn certificates_stay_until_a_member_is_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let server = || fs::read(folder.path().join("etcd/server.crt")).unwrap();
        furnish(folder.path(), &["192.0.2.1".parse().unwrap()]).unwrap();
        let first = server();
        furnish(folder.path(), &["192.0.2.1".parse().unwrap()]).unwrap();
        assert_eq!(first, server());
        furnish(folder.path(), &["192.0.2.2".parse().unwrap()]).unwrap();
        assert_ne!(first, server());
    }

    #[test]
    fn a_members_address_is_read_from_where_its_peers_reach_it() {
        for address in ["192.0.2.1", "2001:db8::1"] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(peer_address(&peer_url(address)), Some(address));
        }
        assert_eq!(peer_address("http://localhost:2380"), None);
    }

    #[test]
    fn a_member_knows_its_peers_and_serves_nobody_without_a_certificate() {
        let all = [("m1".to_owned(), "192.0.2.1".parse().unwrap()), ("m2".to_owned(), "192.0.2.2".parse().unwrap())];
        let list = arguments("m2", all[1].1, Path::new("/data"), Path::new("/pki"), &all);
        for wanted in [
            "--initial-cluster=m1=https://192.0.2.1:2380,m2=https://192.0.2.2:2380",
            "--listen-client-urls=https://192.0.2.2:2379",
            "--trusted-ca-file=/pki/etcd/ca.crt",
            "--client-cert-auth",
            "--peer-client-cert-auth",
        ] {
            assert!(list.iter().any(|a| a == wanted), "{wanted} of {list:?}");
        }
    }
}
