//! Makes a certificate of an approved request. Pure, but for the key's randomness.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::rules;

/// Clocks differ a little: a certificate is good from this long ago.
const BACKDATED: Duration = Duration::from_secs(300);
/// Those that are good for less than this are not backdated: it would be too much of their time.
const SHORT: Duration = Duration::from_secs(8 * 3600);
/// The least that a request may ask for.
const SHORTEST: Duration = Duration::from_secs(600);

/// The cluster's certificate authority.
#[derive(Clone)]
pub struct Authority {
    /// Its certificate, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
    /// How long certificates are good, unless a request asks for less.
    pub duration: Duration,
}

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Signed {
    /// PEM.
    Certificate(String),
    Refused(String),
    /// Another signer's business.
    Foreign,
}

pub(super) fn sign(authority: &Authority, request: &CertificateSigningRequest, now: Timestamp) -> Signed {
    let mut asked = match rules::parse(request) {
        Ok(asked) => asked,
        Err(why) => return Signed::Refused(why),
    };
    match rules::check(request, &asked.params) {
        None => return Signed::Foreign,
        Some(Err(why)) => return Signed::Refused(why),
        Some(Ok(())) => {}
    }
    if let Err(why) = set_usages(request, &mut asked.params) {
        return Signed::Refused(why);
    }
    let now = SystemTime::from(now);
    let wanted = request.spec.expiration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let good =
        wanted.map_or(authority.duration, |wanted| Duration::from_secs(wanted).max(SHORTEST).min(authority.duration));
    let end = ca_end(authority).map_or(now + good, |end| end.min(now + good));
    let backdated = if authority.duration < SHORT { Duration::ZERO } else { BACKDATED };
    asked.params.not_before = (now - backdated).into();
    asked.params.not_after = end.into();
    asked.params.is_ca = IsCa::ExplicitNoCa;
    asked.params.use_authority_key_identifier_extension = true;
    let signed = KeyPair::from_pem(&authority.key)
        .and_then(|key| Issuer::from_ca_cert_pem(&authority.certificate, key))
        .and_then(|issuer| asked.signed_by(&issuer));
    match signed {
        Ok(certificate) => Signed::Certificate(certificate.pem()),
        Err(error) => Signed::Refused(format!("failed to sign: {error}")),
    }
}

/// A certificate does not outlive its authority's.
fn ca_end(authority: &Authority) -> Option<SystemTime> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(authority.certificate.as_bytes()).ok()?;
    let end = pem.parse_x509().ok()?.validity().not_after.timestamp();
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(end).ok()?))
}

/// The usages of the request object count, not those inside of the request.
fn set_usages(request: &CertificateSigningRequest, params: &mut CertificateParams) -> Result<(), String> {
    params.key_usages.clear();
    params.extended_key_usages.clear();
    for usage in request.spec.usages.iter().flatten() {
        match usage.as_str() {
            "signing" | "digital signature" => params.key_usages.push(KeyUsagePurpose::DigitalSignature),
            "content commitment" => params.key_usages.push(KeyUsagePurpose::ContentCommitment),
            "key encipherment" => params.key_usages.push(KeyUsagePurpose::KeyEncipherment),
            "key agreement" => params.key_usages.push(KeyUsagePurpose::KeyAgreement),
            "data encipherment" => params.key_usages.push(KeyUsagePurpose::DataEncipherment),
            "any" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::Any),
            "server auth" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth),
            "client auth" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth),
            "code signing" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::CodeSigning),
            "email protection" | "s/mime" => {
                params.extended_key_usages.push(ExtendedKeyUsagePurpose::EmailProtection);
            }
            "timestamping" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::TimeStamping),
            "ocsp signing" => params.extended_key_usages.push(ExtendedKeyUsagePurpose::OcspSigning),
            other => return Err(format!("unrecognized usage values: [{other:?}]")),
        }
    }
    params.key_usages.dedup();
    Ok(())
}
