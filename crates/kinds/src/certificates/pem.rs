//! What is inside a request, and inside a certificate.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_parser::error::X509Error;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate, X509CertificationRequest};

/// Whether a text is a signed request; if not, why.
pub(super) fn check_request(text: &str) -> Result<(), String> {
    let bytes = STANDARD.decode(text).unwrap_or_default();
    let pem = blocks(&bytes).next().and_then(Result::ok).filter(|pem| pem.label == "CERTIFICATE REQUEST");
    let pem = pem.ok_or("PEM block type must be CERTIFICATE REQUEST")?;
    let (_, request) = X509CertificationRequest::from_der(&pem.contents).map_err(|error| error.to_string())?;
    match request.verify_signature() {
        Err(X509Error::SignatureVerificationError) => Err("x509: signature verification failure".into()),
        // Kinds of signatures that are not known here are for the signer to judge.
        _ => Ok(()),
    }
}

/// Whether a text is a chain of certificates; if not, why.
pub(super) fn check_certificate(text: &str) -> Result<(), String> {
    let bytes = STANDARD.decode(text).unwrap_or_default();
    if bytes.is_empty() {
        return Ok(());
    }
    let mut count = 0;
    for pem in blocks(&bytes) {
        let pem = pem.map_err(|error| error.to_string())?;
        if pem.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found \"{}\"", pem.label));
        }
        X509Certificate::from_der(&pem.contents).map_err(|error| error.to_string())?;
        count += 1;
    }
    if count == 0 { Err("must contain at least one CERTIFICATE PEM block".into()) } else { Ok(()) }
}

fn blocks(bytes: &[u8]) -> impl Iterator<Item = Result<Pem, x509_parser::error::PEMError>> + '_ {
    Pem::iter_from_buffer(bytes)
}
