//! Which requests are approved without a person. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::Node;
use rcgen::SanType;

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

/// What is said of a kubelet's serving certificate that is approved.
pub(super) const SERVING: &str =
    "Auto approving kubelet serving certificate for exactly the node's own name and addresses.";

/// Whether a node asks for the certificate of its own server: with its own name and exactly the addresses that it has, none
/// of which another node has. (Upstream leaves these to a person or an add-on.)
pub(super) fn serves_itself(request: &CertificateSigningRequest, nodes: &[Node]) -> bool {
    let Ok(asked) = rules::parse(request) else { return false };
    if request.spec.signer_name != rules::KUBELET_SERVING || rules::check(request, &asked.params) != Some(Ok(())) {
        return false;
    }
    let user = request.spec.username.as_deref().unwrap_or_default();
    let is_node = request.spec.groups.iter().flatten().any(|group| group == rules::NODES);
    let Some(name) = user.strip_prefix(rules::NODE).filter(|_| is_node) else { return false };
    if user != rules::common_name(&asked.params) {
        return false;
    }
    let (own, others): (Vec<&Node>, Vec<&Node>) =
        nodes.iter().partition(|node| node.metadata.name.as_deref() == Some(name));
    let own: BTreeSet<IpAddr> = own.into_iter().flat_map(addresses).collect();
    let taken: BTreeSet<IpAddr> = others.into_iter().flat_map(addresses).collect();
    let (mut names, mut wanted) = (BTreeSet::new(), BTreeSet::new());
    for served in &asked.params.subject_alt_names {
        match served {
            SanType::DnsName(name) => drop(names.insert(name.as_str())),
            SanType::IpAddress(address) => drop(wanted.insert(*address)),
            _ => return false,
        }
    }
    names == BTreeSet::from([name])
        && wanted == own
        && wanted.is_disjoint(&taken)
        && !wanted.iter().any(|address| address.is_loopback() || address.is_unspecified())
}

fn addresses(node: &Node) -> impl Iterator<Item = IpAddr> {
    let all = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    all.filter_map(|address| address.address.parse().ok())
}
