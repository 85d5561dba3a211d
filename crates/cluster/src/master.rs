//! What the masters of a cluster share: its authorities and the keys of service-account tokens.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use crate::pki::{Pki, PkiError, write};

/// Files that are the same on every master, and who may read them.
const SHARED: [(&str, u32); 6] = [
    ("ca.crt", 0o644),
    ("ca.key", 0o600),
    ("sa.pub", 0o644),
    ("sa.key", 0o600),
    ("etcd/ca.crt", 0o644),
    ("etcd/ca.key", 0o600),
];

/// Gives a master with the folder `own` the keys in the folder `pki`, and certificates for a member of etcd at its address.
///
/// # Errors
/// When files cannot be read or written, or are not keys and certificates.
pub fn furnish(pki: &Path, own: &Path, address: IpAddr) -> Result<Pki, PkiError> {
    Pki::open_ca(&pki.join("etcd"), "etcd-ca")?;
    fs::create_dir_all(own.join("etcd")).map_err(|source| PkiError::Io { path: own.into(), source })?;
    for (name, mode) in SHARED {
        let (from, to) = (pki.join(name), own.join(name));
        let text = fs::read_to_string(&from).map_err(|source| PkiError::Io { path: from, source })?;
        if fs::read_to_string(&to).is_ok_and(|there| there == text) {
            continue;
        }
        write(&to, &text, mode)?;
    }
    crate::etcd::furnish(own, &[address])?;
    Pki::open(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_share_authorities_and_token_keys_and_have_certificates_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let (pki, one, two) = (folder.path().join("pki"), folder.path().join("one"), folder.path().join("two"));
        Pki::open(&pki).unwrap();
        furnish(&pki, &one, "192.0.2.1".parse().unwrap()).unwrap();
        furnish(&pki, &two, "192.0.2.2".parse().unwrap()).unwrap();
        let read = |folder: &Path, name: &str| fs::read(folder.join(name)).unwrap();
        for (name, _) in SHARED {
            assert_eq!(read(&one, name), read(&two, name), "{name}");
        }
        let server = read(&one, "etcd/server.crt");
        assert_ne!(server, read(&two, "etcd/server.crt"));
        furnish(&pki, &one, "192.0.2.1".parse().unwrap()).unwrap();
        assert_eq!(server, read(&one, "etcd/server.crt"), "what is sound stays");
    }
}
