//! Kinds of group `networking.k8s.io`.

#[cfg(test)]
mod cases;
mod ingress;
mod ingress_class;
mod network_policy;
mod service_cidr;

use crate::Rules;
use crate::fixed::ADDRESS;

pub(crate) fn rules(kind: &str) -> &'static Rules {
    match kind {
        "NetworkPolicy" => &network_policy::NETWORK_POLICY,
        "Ingress" => &ingress::INGRESS,
        "IngressClass" => &ingress_class::INGRESS_CLASS,
        "IPAddress" => &ADDRESS,
        "ServiceCIDR" => &service_cidr::SERVICE_CIDR,
        _ => &Rules::PLAIN,
    }
}
