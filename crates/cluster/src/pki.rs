//! Keys and certificates of a cluster, in the files that kubeadm uses.
//!
//! <https://kubernetes.io/docs/setup/best-practices/certificates/>. Keys are ECDSA P-256.

mod kept;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

pub use kept::{Kept, Renewed, kept};

const DAY: Duration = Duration::from_secs(86_400);
/// A CA lives ten years, what it signs one.
const CA_DAYS: u32 = 3650;
const LEAF_DAYS: u32 = 365;
/// A certificate with less left than this is made anew at the next start.
const RENEW_DAYS: i64 = 60;

/// Why keys could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("cannot use {path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is there but is not what it should be, or a certificate cannot be made.
    #[error("{what}: {source}")]
    Certificate {
        /// Which one.
        what: String,
        /// Why.
        source: rcgen::Error,
    },
}

/// A certificate with its key, PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Certificate.
    pub certificate: String,
    /// Key, PKCS#8.
    pub key: String,
}

/// What a leaf certificate says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leaf {
    /// Common name: the user.
    pub name: String,
    /// Organizations: the groups.
    pub groups: Vec<String>,
    /// Names that a server answers to; without any names and addresses it is a client's certificate.
    pub dns_names: Vec<String>,
    /// Addresses that a server answers at.
    pub addresses: Vec<IpAddr>,
    /// A server that shows the same certificate when it is somebody's client.
    pub also_client: bool,
}

impl Leaf {
    /// A client's certificate.
    pub fn client(name: &str, groups: &[&str]) -> Self {
        Self { name: name.into(), groups: groups.iter().map(|g| (*g).into()).collect(), ..Self::default() }
    }

    fn is_server(&self) -> bool {
        !self.dns_names.is_empty() || !self.addresses.is_empty()
    }
}

/// The folder `pki/`.
pub struct Pki {
    folder: PathBuf,
    ca: Pair,
}

impl Pki {
    /// Opens the folder, making the CA and the service-account keys at first.
    ///
    /// # Errors
    /// When files cannot be read or written, or are not keys and certificates.
    pub fn open(folder: &Path) -> Result<Self, PkiError> {
        let pki = Self::open_ca(folder, "kubernetes")?;
        if !folder.join("sa.key").exists() {
            let key = generate("service-account key")?;
            write(&folder.join("sa.pub"), &key.public_key_pem(), 0o644)?;
            write(&folder.join("sa.key"), &key.serialize_pem(), 0o600)?;
        }
        Ok(pki)
    }

    /// A folder with nothing but a CA of this name, made at first, and what that signs.
    ///
    /// # Errors
    /// When files cannot be read or written, or are not keys and certificates.
    pub fn open_ca(folder: &Path, name: &str) -> Result<Self, PkiError> {
        make_folder(folder)?;
        let ca = match read_pair(folder, "ca")? {
            Some(pair) => pair,
            None => {
                let pair = new_ca(name)?;
                write_pair(folder, "ca", &pair)?;
                pair
            }
        };
        Ok(Self { folder: folder.into(), ca })
    }

    /// The CA's certificate, PEM.
    pub fn ca(&self) -> &str {
        &self.ca.certificate
    }

    /// The CA's certificate with its key.
    pub fn authority(&self) -> &Pair {
        &self.ca
    }

    /// The service-account keys: private and public, PEM.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn service_account_keys(&self) -> Result<(String, String), PkiError> {
        Ok((read(&self.folder.join("sa.key"))?, read(&self.folder.join("sa.pub"))?))
    }

    /// The certificate `NAME.crt` with its key, made anew when it is missing, says something else, was signed by
    /// another CA, or is near its end.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn leaf(&self, file: &str, leaf: &Leaf) -> Result<Pair, PkiError> {
        self.leaf_in(&self.folder, file, leaf)
    }

    /// The same in another folder, which is made when it is missing.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn leaf_in(&self, folder: &Path, file: &str, leaf: &Leaf) -> Result<Pair, PkiError> {
        make_folder(folder)?;
        if let Some(pair) = read_pair(folder, file)?
            && self.is_good(&pair, leaf)
        {
            return Ok(pair);
        }
        let pair = self.sign(leaf)?;
        write_pair(folder, file, &pair)?;
        Ok(pair)
    }

    /// A certificate that is kept nowhere.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn sign(&self, leaf: &Leaf) -> Result<Pair, PkiError> {
        let failed = |source| PkiError::Certificate { what: format!("certificate of {}", leaf.name), source };
        let ca_key = KeyPair::from_pem(&self.ca.key).map_err(failed)?;
        let issuer = Issuer::from_ca_cert_pem(&self.ca.certificate, ca_key).map_err(failed)?;
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = leaf_params(leaf).map_err(failed)?.signed_by(&key, &issuer).map_err(failed)?;
        Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    fn is_good(&self, pair: &Pair, leaf: &Leaf) -> bool {
        use x509_parser::prelude::*;
        let (Ok((_, pem)), Ok((_, ca_pem))) =
            (parse_x509_pem(pair.certificate.as_bytes()), parse_x509_pem(self.ca.certificate.as_bytes()))
        else {
            return false;
        };
        let (Ok(certificate), Ok(ca)) = (pem.parse_x509(), ca_pem.parse_x509()) else { return false };
        let left = certificate.validity().time_to_expiration().map_or(0, |d| d.whole_days());
        let mut names = Vec::new();
        let mut addresses = Vec::new();
        if let Ok(Some(san)) = certificate.subject_alternative_name() {
            for name in &san.value.general_names {
                match name {
                    GeneralName::DNSName(name) => names.push((*name).to_owned()),
                    GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
                    _ => {}
                }
            }
        }
        let common = certificate.subject().iter_common_name().next().and_then(|n| n.as_str().ok());
        let client = certificate.extended_key_usage().ok().flatten().is_some_and(|usage| usage.value.client_auth);
        certificate.verify_signature(Some(ca.public_key())).is_ok()
            && (client || !leaf.also_client)
            && left >= RENEW_DAYS
            && common == Some(leaf.name.as_str())
            && leaf.dns_names.iter().all(|n| names.contains(n))
            && leaf.addresses.iter().all(|a| addresses.contains(a))
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

fn generate(what: &str) -> Result<KeyPair, PkiError> {
    KeyPair::generate().map_err(|source| PkiError::Certificate { what: what.into(), source })
}

fn new_ca(name: &str) -> Result<Pair, PkiError> {
    let failed = |source| PkiError::Certificate { what: "certificate authority".into(), source };
    let mut params = base_params(name, &[], CA_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment, KeyUsagePurpose::KeyCertSign];
    let key = generate("certificate authority")?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

fn base_params(name: &str, groups: &[String], days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    for group in groups {
        subject.push(DnType::OrganizationName, group.as_str());
    }
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    let now = SystemTime::now();
    // Clocks of a cluster differ a little.
    params.not_before = (now - DAY / 24).into();
    params.not_after = (now + DAY * days).into();
    params
}

fn leaf_params(leaf: &Leaf) -> Result<CertificateParams, rcgen::Error> {
    let mut params = base_params(&leaf.name, &leaf.groups, LEAF_DAYS);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.use_authority_key_identifier_extension = true;
    if leaf.is_server() {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    if leaf.also_client || !leaf.is_server() {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    }
    for name in &leaf.dns_names {
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    params.subject_alt_names.extend(leaf.addresses.iter().map(|a| SanType::IpAddress(*a)));
    Ok(params)
}

fn make_folder(folder: &Path) -> Result<(), PkiError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| PkiError::Io { path: folder.into(), source })
}

fn read_pair(folder: &Path, name: &str) -> Result<Option<Pair>, PkiError> {
    let (certificate, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
    if !certificate.exists() || !key.exists() {
        return Ok(None);
    }
    Ok(Some(Pair { certificate: read(&certificate)?, key: read(&key)? }))
}

fn write_pair(folder: &Path, name: &str, pair: &Pair) -> Result<(), PkiError> {
    write(&folder.join(format!("{name}.key")), &pair.key, 0o600)?;
    write(&folder.join(format!("{name}.crt")), &pair.certificate, 0o644)
}

fn read(path: &Path) -> Result<String, PkiError> {
    fs::read_to_string(path).map_err(|source| PkiError::Io { path: path.into(), source })
}

/// Writes down what somebody else made.
///
/// # Errors
/// When the file cannot be written.
pub fn save(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    path.parent().map_or(Ok(()), make_folder)?;
    write(path, text, mode)
}

/// Fingerprints of the public keys of certificates, PEM, as kubeadm writes them; what is no certificate has none.
pub fn fingerprints(certificates: &str) -> BTreeSet<String> {
    let pems = x509_parser::pem::Pem::iter_from_buffer(certificates.as_bytes()).filter_map(Result::ok);
    let hash = |pem: x509_parser::pem::Pem| {
        let digest = ring::digest::digest(&ring::digest::SHA256, pem.parse_x509().ok()?.public_key().raw);
        Some(format!("sha256:{}", hex::encode(digest)))
    };
    pems.filter_map(hash).collect()
}

/// Writes a file so that it is there whole or not at all.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    sys::file::replace(path, text.as_bytes(), mode).map_err(|source| PkiError::Io { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_authority_has_a_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let one = Pki::open(&folder.path().join("one")).unwrap();
        let two = Pki::open(&folder.path().join("two")).unwrap();
        let both = fingerprints(&format!("{}{}", one.ca(), two.ca()));
        assert_eq!(both, &fingerprints(one.ca()) | &fingerprints(two.ca()));
        assert!(both.len() == 2 && both.iter().all(|f| f.starts_with("sha256:") && f.len() == 71), "{both:?}");
        assert!(fingerprints("none").is_empty());
    }

    #[test]
    fn a_second_start_finds_the_same_keys() {
        let folder = tempfile::tempdir().unwrap();
        let leaf = Leaf { name: "kube-apiserver".into(), dns_names: vec!["kubernetes".into()], ..Leaf::default() };
        let first = Pki::open(folder.path()).unwrap();
        let one = first.leaf("apiserver", &leaf).unwrap();
        let second = Pki::open(folder.path()).unwrap();
        assert_eq!(first.ca(), second.ca());
        assert_eq!(one.certificate, second.leaf("apiserver", &leaf).unwrap().certificate);
    }

    #[test]
    fn a_new_name_makes_a_new_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::open(folder.path()).unwrap();
        let mut leaf = Leaf { name: "kube-apiserver".into(), dns_names: vec!["a".into()], ..Leaf::default() };
        let one = pki.leaf("apiserver", &leaf).unwrap();
        leaf.addresses.push("10.0.0.1".parse().unwrap());
        assert_ne!(one.certificate, pki.leaf("apiserver", &leaf).unwrap().certificate);
    }

    #[test]
    fn keys_are_for_the_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::open(folder.path()).unwrap();
        pki.leaf("admin", &Leaf::client("kubernetes-admin", &["kubeadm:cluster-admins"])).unwrap();
        for key in ["ca.key", "sa.key", "admin.key"] {
            let mode = fs::metadata(folder.path().join(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
    }
}
