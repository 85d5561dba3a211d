//! Who plays a role of which there is one at a time. Pure.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use serde::Serialize;

/// Roles that elect a leader where there are several servers.
pub(super) const ROLES: [&str; 2] = ["kube-controller-manager", "kube-scheduler"];
/// Beyond the lease's time, so much is forgiven: clocks of a cluster differ a little.
const SLACK: i64 = 5;

/// Who leads a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Leader {
    pub(super) role: String,
    /// Who has the lease, or had it last; the server itself where nobody elects.
    pub(super) holder: String,
    pub(super) leads: bool,
    /// Since it was renewed; none without a lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) silent_seconds: Option<i64>,
}

/// The leaders, of the leases in `kube-system`. A server that is alone on its store has none, and leads.
pub(super) fn of(leases: &[Lease], server: &str, now: Timestamp) -> Vec<Leader> {
    ROLES.iter().map(|role| one(role, leases, server, now)).collect()
}

fn one(role: &str, leases: &[Lease], server: &str, now: Timestamp) -> Leader {
    let role = role.to_owned();
    let found = leases.iter().find(|lease| lease.metadata.name.as_deref() == Some(&role));
    let Some(spec) = found.and_then(|lease| lease.spec.clone()) else {
        return Leader { role, holder: server.to_owned(), leads: true, silent_seconds: None };
    };
    let silent = spec.renew_time.map(|time| now.duration_since(time.0).as_secs());
    let lasts = i64::from(spec.lease_duration_seconds.unwrap_or_default());
    let holder = spec.holder_identity.unwrap_or_default();
    let leads = !holder.is_empty() && silent.is_some_and(|silent| silent <= lasts + SLACK);
    Leader { role, holder, leads, silent_seconds: silent.or(Some(0)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lease_that_is_renewed_says_who_leads() {
        let lease = json!({"metadata": {"name": "kube-scheduler"}, "spec": {
            "holderIdentity": "m-1", "leaseDurationSeconds": 3, "renewTime": "2026-01-01T00:00:00.000000Z"}});
        let leases = [serde_json::from_value(lease).unwrap()];
        let at = |text: &str| of(&leases, "n", text.parse().unwrap());
        let [manager, scheduler] = at("2026-01-01T00:00:02Z").try_into().unwrap();
        assert_eq!((manager.holder.as_str(), manager.leads, manager.silent_seconds), ("n", true, None));
        assert_eq!((scheduler.holder.as_str(), scheduler.leads), ("m-1", true));
        let [_, scheduler] = at("2026-01-01T00:01:00Z").try_into().unwrap();
        assert_eq!((scheduler.holder.as_str(), scheduler.leads, scheduler.silent_seconds), ("m-1", false, Some(60)));
    }
}
