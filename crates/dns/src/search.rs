//! A whole search path in one round trip: a pod that asks for `example.com` asks for `example.com.NAMESPACE.svc.DOMAIN`
//! first. When that does not exist, the rest of its path is walked here, and it gets an alias to what was found.

use std::net::IpAddr;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};

use crate::answers::{self, Reply, Verdict};
use crate::index::Index;
use crate::upstream::{self, Upstream};
use crate::zone::{self, Zone};

/// What the client means by a name that begins its search path; none when it is not that. A single label, or the port of
/// a service, is the cluster's: the world need not be asked for it.
fn meant(zone: &Zone, index: &impl Index, client: IpAddr, name: &Name) -> Option<Name> {
    let labels = zone.inside(name)?;
    let [svc, namespace, rest @ ..] = labels.as_slice() else { return None };
    let is_port = rest.iter().any(|label| label.starts_with('_'));
    if svc != "svc" || rest.len() < 2 || is_port || index.namespace_at(client).as_ref() != Some(namespace) {
        return None;
    }
    Name::from_labels(rest.iter().rev().map(|label| label.as_bytes())).ok()
}

/// Walks the rest of the search path; none when nothing is found there.
pub(crate) async fn search(
    zone: &Zone,
    index: &impl Index,
    upstream: &Upstream,
    client: IpAddr,
    asked: (&Name, RecordType),
    dnssec: bool,
) -> Option<Reply> {
    let (name, kind) = asked;
    let meant = meant(zone, index, client, name)?;
    let mut domains = vec![zone.name(&["svc"])?, zone.origin.clone()];
    domains.extend(upstream.search().await);
    let mut candidates: Vec<Name> =
        domains.iter().filter_map(|domain| meant.clone().append_domain(domain).ok()).collect();
    candidates.push(meant.append_domain(&Name::root()).ok()?);
    for candidate in candidates {
        let mut reply = match answers::answer(zone, index, &candidate, kind) {
            Verdict::Ours(reply) if has_records(zone, index, &candidate) => reply,
            Verdict::Ours(_) => continue,
            Verdict::Elsewhere => {
                let message = upstream.resolve(&upstream::query(candidate.clone(), kind), dnssec).await?;
                match message.metadata.response_code {
                    ResponseCode::NoError => Reply {
                        answers: message.answers.clone(),
                        authorities: message.authorities.clone(),
                        ..Reply::default()
                    },
                    ResponseCode::NXDomain => continue,
                    // The client may have more luck.
                    _ => return None,
                }
            }
        };
        reply.answers.insert(0, zone::alias(name, candidate));
        return Some(reply);
    }
    None
}

/// A name counts when it has records of any kind, so that questions for different kinds end at the same name.
fn has_records(zone: &Zone, index: &impl Index, name: &Name) -> bool {
    matches!(answers::answer(zone, index, name, RecordType::ANY), Verdict::Ours(reply) if !reply.answers.is_empty())
}
