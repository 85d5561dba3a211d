//! Certificates of an etcd cluster and of the API servers that use it, in the files that kubeadm uses.
//!
//! etcd knows no rights: whoever shows a certificate of its CA reads and writes everything. So it has a CA of its own, and
//! none of the certificates that the cluster's CA gives to users and nodes opens it.

use std::net::{IpAddr, Ipv4Addr};
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
}
