//! What each of the cluster's signers signs. Pure.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use rcgen::{CertificateParams, CertificateSigningRequestParams, DnType, DnValue, SanType};

pub(super) const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
pub(super) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub(super) const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
pub(super) const LEGACY: &str = "kubernetes.io/legacy-unknown";

pub(super) const NODES: &str = "system:nodes";
pub(super) const NODE: &str = "system:node:";

/// The request itself, its signature checked.
pub(super) fn parse(request: &CertificateSigningRequest) -> Result<CertificateSigningRequestParams, String> {
    let pem = std::str::from_utf8(&request.spec.request.0).map_err(|error| error.to_string())?;
    CertificateSigningRequestParams::from_pem(pem).map_err(|error| format!("unable to parse csr: {error}"))
}

fn text(value: &DnValue) -> &str {
    match value {
        DnValue::Utf8String(text) => text,
        DnValue::PrintableString(text) => text.as_str(),
        DnValue::Ia5String(text) => text.as_str(),
        DnValue::TeletexString(text) => text.as_str(),
        _ => "",
    }
}

pub(super) fn common_name(params: &CertificateParams) -> &str {
    params.distinguished_name.get(&DnType::CommonName).map(text).unwrap_or_default()
}

fn organizations(params: &CertificateParams) -> Vec<&str> {
    let names = params.distinguished_name.iter();
    names.filter(|(kind, _)| **kind == DnType::OrganizationName).map(|(_, value)| text(value)).collect()
}

fn usages(request: &CertificateSigningRequest) -> Vec<&str> {
    let mut usages: Vec<_> = request.spec.usages.iter().flatten().map(String::as_str).collect();
    usages.sort_unstable();
    usages.dedup();
    usages
}

fn is_node(params: &CertificateParams) -> Result<(), String> {
    if organizations(params) != [NODES] {
        return Err("subject organization is not system:nodes".into());
    }
    if !common_name(params).starts_with(NODE) {
        return Err("subject common name does not begin with system:node:".into());
    }
    Ok(())
}

fn only(usages: &[&str], needed: &str) -> Result<(), String> {
    let wanted = ["digital signature", "key encipherment", needed];
    let all = usages.contains(&"digital signature") && usages.contains(&needed);
    if all && usages.iter().all(|usage| wanted.contains(usage)) {
        return Ok(());
    }
    Err(format!("usages did not match [{}]", wanted.join(" ")))
}

/// A certificate by which a kubelet names itself to the apiserver.
pub(super) fn kubelet_client(request: &CertificateSigningRequest, params: &CertificateParams) -> Result<(), String> {
    is_node(params)?;
    if let Some(name) = params.subject_alt_names.first() {
        return Err(match name {
            SanType::DnsName(_) => "DNS subjectAltNames are not allowed",
            SanType::Rfc822Name(_) => "Email subjectAltNames are not allowed",
            SanType::IpAddress(_) => "IP subjectAltNames are not allowed",
            _ => "URI subjectAltNames are not allowed",
        }
        .into());
    }
    only(&usages(request), "client auth")
}

fn kubelet_serving(request: &CertificateSigningRequest, params: &CertificateParams) -> Result<(), String> {
    is_node(params)?;
    let served = |name: &SanType| matches!(name, SanType::DnsName(_) | SanType::IpAddress(_));
    if !params.subject_alt_names.iter().any(served) {
        return Err("DNS or IP subjectAltName is required".into());
    }
    if !params.subject_alt_names.iter().all(served) {
        return Err("Email and URI subjectAltNames are not allowed".into());
    }
    only(&usages(request), "server auth")
}

fn client(request: &CertificateSigningRequest, params: &CertificateParams) -> Result<(), String> {
    if organizations(params).contains(&"system:masters") {
        return Err("organization system:masters is not signed for".into());
    }
    let usages = usages(request);
    let allowed = ["client auth", "digital signature", "key encipherment"];
    if !usages.contains(&"client auth") {
        return Err("client auth usage is required".into());
    }
    match usages.iter().find(|usage| !allowed.contains(usage)) {
        Some(usage) => Err(format!("usage {usage:?} is not allowed")),
        None => Ok(()),
    }
}

/// Whether the signer that is asked for signs this; none for signers that are not the cluster's.
pub(super) fn check(request: &CertificateSigningRequest, params: &CertificateParams) -> Option<Result<(), String>> {
    Some(match request.spec.signer_name.as_str() {
        CLIENT => client(request, params),
        KUBELET_CLIENT => kubelet_client(request, params),
        KUBELET_SERVING => kubelet_serving(request, params),
        LEGACY => Ok(()),
        _ => return None,
    })
}
