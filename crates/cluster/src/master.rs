//! What the masters of a cluster share: its authorities and the keys of service-account tokens.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use crate::pki::{Pki, PkiError, save};
use crate::sealed::{SealError, SealKey};

/// Files that are the same on every master, and who may read them.
const SHARED: [(&str, u32); 6] = [
    ("ca.crt", 0o644),
    ("ca.key", 0o600),
    ("sa.pub", 0o644),
    ("sa.key", 0o600),
    ("etcd/ca.crt", 0o644),
    ("etcd/ca.key", 0o600),
];

/// The files that masters share, by name.
pub type Shared = BTreeMap<&'static str, String>;

/// Reads what is to be shared from the folder `pki`; etcd's authority is made when there is none.
///
/// # Errors
/// When files cannot be read or written, or are not keys and certificates.
pub fn shared(pki: &Path) -> Result<Shared, PkiError> {
    Pki::open_ca(&pki.join("etcd"), "etcd-ca")?;
    let read = |(name, _): (&'static str, u32)| {
        let path = pki.join(name);
        let text = fs::read_to_string(&path).map_err(|source| PkiError::Io { path, source })?;
        Ok((name, text))
    };
    SHARED.into_iter().map(read).collect()
}

/// Gives a master with the folder `own` what is shared, and certificates for a member of etcd at its address.
///
/// # Errors
/// When files cannot be read or written, or are not keys and certificates.
pub fn receive(shared: &Shared, own: &Path, address: IpAddr) -> Result<Pki, PkiError> {
    for (name, mode) in SHARED {
        let (Some(text), to) = (shared.get(name), own.join(name)) else { continue };
        if fs::read_to_string(&to).is_ok_and(|there| there == *text) {
            continue;
        }
        save(&to, text, mode)?;
    }
    crate::etcd::furnish(own, &[address])?;
    Pki::open(own)
}

/// The same from one folder to another.
///
/// # Errors
/// When files cannot be read or written, or are not keys and certificates.
pub fn furnish(pki: &Path, own: &Path, address: IpAddr) -> Result<Pki, PkiError> {
    receive(&shared(pki)?, own, address)
}

/// Key of a file in the Secret of [`SECRET`].
fn key(file: &str) -> String {
    file.replace('/', "-")
}

/// The Secret in `kube-system` by which masters hand on what they share; kubeadm's name.
pub const SECRET: &str = "kubeadm-certs";

/// What is shared, as it stands in that Secret.
///
/// # Errors
/// When it cannot be locked.
pub fn seal(shared: &Shared, with: &SealKey) -> Result<BTreeMap<String, Vec<u8>>, SealError> {
    shared.iter().map(|(file, text)| Ok((key(file), with.seal(text)?))).collect()
}

/// What is shared, from that Secret; what is not in it is not there.
///
/// # Errors
/// When it was locked with another key.
pub fn unseal<'a>(data: impl Fn(&str) -> Option<&'a [u8]>, with: &SealKey) -> Result<Shared, SealError> {
    let found = SHARED.into_iter().filter_map(|(file, _)| Some((file, data(&key(file))?)));
    found.map(|(file, sealed)| Ok((file, with.open(sealed)?))).collect()
}

/// Whether all is there that masters share.
pub fn is_whole(shared: &Shared) -> bool {
    SHARED.iter().all(|(file, _)| shared.contains_key(file))
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

    #[test]
    fn what_is_shared_passes_through_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        Pki::open(folder.path()).unwrap();
        let shared = shared(folder.path()).unwrap();
        let with = SealKey::generate().unwrap();
        let data = seal(&shared, &with).unwrap();
        assert!(data.contains_key("etcd-ca.key"));
        let get = |name: &str| data.get(name).map(Vec::as_slice);
        assert_eq!(unseal(get, &with).unwrap(), shared);
        assert_eq!(unseal(get, &SealKey::generate().unwrap()), Err(SealError::WrongKey));
        assert!(is_whole(&shared) && !is_whole(&unseal(|_| None, &with).unwrap()));
    }
}
