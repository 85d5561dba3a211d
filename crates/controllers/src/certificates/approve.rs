//! Which requests are approved without a person. Pure.

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use super::rules;

/// As what a kubelet asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// A node renews its own certificate.
    SelfNode,
    /// A machine wants to become a node.
    Node,
}

impl Claim {
    /// Who may `create` this may have the certificate.
    pub(super) fn subresource(self) -> &'static str {
        match self {
            Self::SelfNode => "selfnodeclient",
            Self::Node => "nodeclient",
        }
    }

    pub(super) fn message(self) -> &'static str {
        match self {
            Self::SelfNode => "Auto approving self kubelet client certificate after SubjectAccessReview.",
            Self::Node => "Auto approving kubelet client certificate after SubjectAccessReview.",
        }
    }
}

pub(super) fn claims(request: &CertificateSigningRequest) -> Vec<Claim> {
    if request.spec.signer_name != rules::KUBELET_CLIENT {
        return Vec::new();
    }
    let Ok(asked) = rules::parse(request) else { return Vec::new() };
    if rules::kubelet_client(request, &asked.params).is_err() {
        return Vec::new();
    }
    let own = request.spec.username.as_deref() == Some(rules::common_name(&asked.params));
    if own { vec![Claim::SelfNode, Claim::Node] } else { vec![Claim::Node] }
}
