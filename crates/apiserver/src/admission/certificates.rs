//! Certificate requests: who may approve and sign for a signer, and which subject nobody may ask for.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#authorization>

use api::ApiError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use x509_parser::prelude::{FromDer, X509CertificationRequest};

use crate::authz;
use crate::context::Context;
use crate::request::{RequestInfo, ResourceRequest};

const GROUP: &str = "certificates.k8s.io";
/// The signer whose certificates the API server takes for users.
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// Its members pass every check, so that no certificate must name it.
const MASTERS: &str = "system:masters";

pub(super) async fn check(context: &Context, new: &Value, old: Option<&Value>) -> Result<(), ApiError> {
    if (context.kind.resource.group, context.kind.resource.plural) != (GROUP, "certificatesigningrequests") {
        return Ok(());
    }
    // An update cannot change the signer: what is stored counts.
    let signer = api::meta::at(old.unwrap_or(new), "/spec/signerName");
    let verb = match (context.subresource.as_str(), old) {
        ("", None) if signer == CLIENT && asks_for_masters(new) => {
            let why = format!("use of {CLIENT} signer with {MASTERS} group is not allowed");
            return Err(context.kind.forbidden(api::meta::name(new), &why));
        }
        ("approval", _) => "approve",
        ("status", Some(old)) if signs(new, old) => "sign",
        _ => return Ok(()),
    };
    if may(context, verb, signer).await {
        return Ok(());
    }
    let why = format!("user not permitted to {verb} requests with signerName \"{signer}\"");
    Err(context.kind.forbidden(api::meta::name(new), &why))
}

/// Whether the subject of a request is in the group of those who may do everything.
fn asks_for_masters(request: &Value) -> bool {
    let text = STANDARD.decode(api::meta::at(request, "/spec/request")).unwrap_or_default();
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(&text) else { return false };
    let Ok((_, asked)) = X509CertificationRequest::from_der(&pem.contents) else { return false };
    let mut organizations = asked.certification_request_info.subject.iter_organization();
    organizations.any(|organization| organization.as_str().is_ok_and(|name| name == MASTERS))
}

/// Whether an update of the status is a signer's word: a certificate, or a condition.
fn signs(new: &Value, old: &Value) -> bool {
    ["/status/certificate", "/status/conditions"].iter().any(|at| new.pointer(at) != old.pointer(at))
}

/// Whether the user has the verb for the signer, or for all of its domain.
async fn may(context: &Context, verb: &'static str, signer: &str) -> bool {
    let domain = signer.split('/').next().unwrap_or_default();
    for name in [signer.to_owned(), format!("{domain}/*")] {
        let request = ResourceRequest {
            verb,
            group: GROUP.into(),
            version: "*".into(),
            resource: "signers".into(),
            name,
            ..ResourceRequest::default()
        };
        if authz::allowed(&context.server, &context.user, &RequestInfo::Resource(request)).await {
            return true;
        }
    }
    false
}
