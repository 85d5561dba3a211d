//! Certificates that are there: how long they are good, and the same ones made anew.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_parser::prelude::*;

use super::{Leaf, Pair, Pki, PkiError, address, read_pair, write_pair};

/// A certificate that is kept in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The file.
    pub file: PathBuf,
    /// When it ends, in seconds since the epoch.
    pub end: i64,
    /// Who signed it.
    pub authority: String,
    /// Whether it signs others.
    pub is_authority: bool,
}

/// The certificates in a folder, `*.crt` and those in `*.kubeconfig`; what cannot be read is left out.
pub fn kept(folder: &Path) -> Vec<Kept> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    files.filter_map(look).collect()
}

fn look(file: PathBuf) -> Option<Kept> {
    let text = fs::read_to_string(&file).ok()?;
    let pem = match file.extension()?.to_str()? {
        "crt" => text,
        "kubeconfig" => {
            let data = text.lines().find_map(|line| line.trim().strip_prefix("client-certificate-data:"))?;
            String::from_utf8(STANDARD.decode(data.trim()).ok()?).ok()?
        }
        _ => return None,
    };
    let (_, pem) = parse_x509_pem(pem.as_bytes()).ok()?;
    let parsed = pem.parse_x509().ok()?;
    let authority = common_name(parsed.issuer()).unwrap_or_default();
    Some(Kept { file, end: parsed.validity().not_after.timestamp(), authority, is_authority: parsed.is_ca() })
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    name.iter_common_name().next().and_then(|name| name.as_str().ok()).map(str::to_owned)
}

/// A certificate with its key as it was, and the new one in its place.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// As it was.
    pub old: Pair,
    /// As it is.
    pub new: Pair,
}

impl Renewed {
    /// Has a kubeconfig that shows the old one show the new one. Whether it did.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn put_into(&self, kubeconfig: &Path) -> Result<bool, PkiError> {
        let text = super::read(kubeconfig)?;
        let encode = |text: &str| STANDARD.encode(text);
        let next = text
            .replace(&encode(&self.old.certificate), &encode(&self.new.certificate))
            .replace(&encode(&self.old.key), &encode(&self.new.key));
        if next == text {
            return Ok(false);
        }
        crate::kubeconfig::save(kubeconfig, &next).map(|()| true)
    }
}

impl Pki {
    /// The CA of a folder that has one, with its key; none is made.
    ///
    /// # Errors
    /// When files cannot be read.
    pub fn existing(folder: &Path) -> Result<Option<Self>, PkiError> {
        Ok(read_pair(folder, "ca")?.map(|ca| Self { folder: folder.into(), ca }))
    }

    /// Makes the certificate in a file anew: it says what it said. None when this CA has not signed it, it has no key, or it is
    /// an authority, which nobody would trust any more.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn renew(&self, file: &Path) -> Result<Option<Renewed>, PkiError> {
        let (Some(folder), Some(name)) = (file.parent(), file.file_stem().and_then(|name| name.to_str())) else {
            return Ok(None);
        };
        let Some(old) = read_pair(folder, name)? else { return Ok(None) };
        let Some(leaf) = self.own_leaf(&old.certificate) else { return Ok(None) };
        let new = self.sign(&leaf)?;
        write_pair(folder, name, &new)?;
        Ok(Some(Renewed { old, new }))
    }

    /// What a certificate says that this CA has signed.
    fn own_leaf(&self, certificate: &str) -> Option<Leaf> {
        let (_, pem) = parse_x509_pem(certificate.as_bytes()).ok()?;
        let (_, ca) = parse_x509_pem(self.ca.certificate.as_bytes()).ok()?;
        let (parsed, ca) = (pem.parse_x509().ok()?, ca.parse_x509().ok()?);
        if parsed.is_ca() || parsed.verify_signature(Some(ca.public_key())).is_err() {
            return None;
        }
        let (mut dns_names, mut addresses): (Vec<String>, Vec<IpAddr>) = Default::default();
        let served = parsed.subject_alternative_name().ok()?;
        for name in served.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
                _ => {}
            }
        }
        let usage = parsed.extended_key_usage().ok()??.value;
        let groups = parsed.subject().iter_organization().filter_map(|name| name.as_str().ok()).map(str::to_owned);
        Some(Leaf {
            name: common_name(parsed.subject())?,
            groups: groups.collect(),
            dns_names,
            addresses,
            also_client: usage.server_auth && usage.client_auth,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::pki::{CA_DAYS, LEAF_DAYS};

    #[test]
    fn it_is_known_when_certificates_end_and_who_signed_them() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::open(folder.path()).unwrap();
        let admin = pki.leaf("admin", &Leaf::client("a", &[])).unwrap();
        let text = crate::kubeconfig::render("https://192.0.2.1:6443", pki.ca(), "c", "a", &admin);
        crate::kubeconfig::save(&folder.path().join("admin.kubeconfig"), &text).unwrap();
        let now = i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
        let mut found: Vec<(String, i64, String, bool)> = kept(folder.path())
            .into_iter()
            .map(|kept| {
                let name = kept.file.file_name().unwrap().to_string_lossy().into_owned();
                (name, (kept.end - now + 3600) / 86_400, kept.authority, kept.is_authority)
            })
            .collect();
        found.sort();
        let ca = || "kubernetes".to_owned();
        let expected = [
            ("admin.crt".to_owned(), i64::from(LEAF_DAYS), ca(), false),
            ("admin.kubeconfig".to_owned(), i64::from(LEAF_DAYS), ca(), false),
            ("ca.crt".to_owned(), i64::from(CA_DAYS), ca(), true),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_certificate_made_anew_says_what_it_said() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let pki = Pki::open(folder.path()).unwrap();
        let server = Leaf {
            name: "s".into(),
            groups: vec!["g".into()],
            dns_names: vec!["localhost".into()],
            addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            also_client: true,
        };
        let old = pki.leaf("server", &server).unwrap();
        let renewed = pki.renew(&file("server.crt")).unwrap().unwrap();
        assert!(renewed.old.certificate == old.certificate && renewed.new.key != old.key);
        assert_eq!(pki.own_leaf(&renewed.new.certificate).as_ref(), Some(&server));
        assert_eq!(pki.leaf("server", &server).unwrap().certificate, renewed.new.certificate, "it is good as it is");

        let text = crate::kubeconfig::render("https://192.0.2.1:6443", pki.ca(), "c", "s", &old);
        crate::kubeconfig::save(&file("s.kubeconfig"), &text).unwrap();
        assert!(renewed.put_into(&file("s.kubeconfig")).unwrap());
        assert!(!renewed.put_into(&file("s.kubeconfig")).unwrap());
        let next = crate::kubeconfig::render("https://192.0.2.1:6443", pki.ca(), "c", "s", &renewed.new);
        assert_eq!(fs::read_to_string(file("s.kubeconfig")).unwrap(), next);

        assert!(pki.renew(&file("ca.crt")).unwrap().is_none(), "an authority stays");
        let other = Pki::open(&file("other")).unwrap();
        assert!(other.renew(&file("server.crt")).unwrap().is_none(), "another one's is left alone");
        assert!(Pki::existing(&file("nowhere")).unwrap().is_none() && Pki::existing(folder.path()).unwrap().is_some());
    }
}
