//! How endpoints are cut into slices. Pure.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt};

use crate::common::owner::controller_reference;

/// What is to be written.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) create: Vec<EndpointSlice>,
    pub(crate) update: Vec<EndpointSlice>,
    pub(crate) delete: Vec<EndpointSlice>,
}

/// Endpoints by the ports that they have.
pub(crate) type Groups = BTreeMap<String, (Vec<EndpointPort>, Vec<Endpoint>)>;

pub(crate) fn add(groups: &mut Groups, ports: Vec<EndpointPort>, endpoint: Endpoint) {
    groups.entry(format!("{ports:?}")).or_insert_with(|| (ports, Vec::new())).1.push(endpoint);
}

/// What the slices have in common.
pub(crate) struct Frame {
    /// Of a new one. Those that are there get its labels, and its annotations if it has any.
    pub(crate) metadata: ObjectMeta,
    /// Endpoints in a slice at most.
    pub(crate) max: usize,
}

/// The metadata of new slices that belong to an object.
pub(crate) fn metadata<K>(owner: &K, labels: BTreeMap<String, String>) -> ObjectMeta
where
    K: Resource<DynamicType = ()> + Debug,
{
    ObjectMeta {
        generate_name: Some(format!("{}-", owner.name_any())),
        namespace: owner.namespace(),
        owner_references: Some(vec![controller_reference(owner)]),
        labels: Some(labels),
        ..ObjectMeta::default()
    }
}

/// Plans the slices of one address family; the others are left alone.
pub(crate) fn pack(frame: &Frame, family: &str, groups: Groups, existing: &[Arc<EndpointSlice>], plan: &mut Plan) {
    let mut slices: Vec<_> = existing.iter().filter(|slice| slice.address_type == family).cloned().collect();
    for (ports, endpoints) in groups.into_values() {
        let own = |slice: &Arc<EndpointSlice>| slice.ports.clone().unwrap_or_default() == ports;
        let (mine, others) = slices.into_iter().partition(own);
        slices = others;
        fill(frame, family, ports, endpoints, mine, plan);
    }
    plan.delete.extend(slices.iter().map(|slice| (**slice).clone()));
}

fn key(endpoint: &Endpoint) -> (Option<String>, Vec<String>) {
    (endpoint.target_ref.as_ref().and_then(|target| target.uid.clone()), endpoint.addresses.clone())
}

/// Changes as few slices as possible: endpoints stay where they are, new ones go where there is room.
fn fill(
    frame: &Frame,
    family: &str,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
    existing: Vec<Arc<EndpointSlice>>,
    plan: &mut Plan,
) {
    let mut wanted: BTreeMap<_, Endpoint> = endpoints.into_iter().map(|endpoint| (key(&endpoint), endpoint)).collect();
    let mut slices: Vec<EndpointSlice> = existing.iter().map(|slice| (**slice).clone()).collect();
    for slice in &mut slices {
        let stay = slice.endpoints.iter().flatten().filter_map(|endpoint| wanted.remove(&key(endpoint)));
        slice.endpoints = Some(stay.collect());
    }
    let mut added = wanted.into_values();
    for slice in &mut slices {
        let list = slice.endpoints.get_or_insert_default();
        list.extend(added.by_ref().take(frame.max.saturating_sub(list.len())));
    }
    let rest: Vec<_> = added.collect();
    let fresh: Vec<_> = rest.chunks(frame.max).map(|chunk| slice(frame, family, &ports, chunk.to_vec())).collect();
    // One stays, even if it is empty: it says that there is nobody.
    let used = |slice: &EndpointSlice| slice.endpoints.as_ref().is_some_and(|list| !list.is_empty());
    let mut keep = !fresh.is_empty() || slices.iter().any(used);
    if slices.is_empty() && !keep {
        plan.create.push(slice(frame, family, &ports, Vec::new()));
    }
    plan.create.extend(fresh);
    for (mut slice, seen) in slices.into_iter().zip(existing) {
        if !used(&slice) && keep {
            plan.delete.push(slice);
            continue;
        }
        keep = true;
        dress(frame, &mut slice.metadata);
        if !same(&slice, &seen) {
            plan.update.push(slice);
        }
    }
}

fn same(a: &EndpointSlice, b: &EndpointSlice) -> bool {
    a.metadata == b.metadata && a.endpoints.clone().unwrap_or_default() == b.endpoints.clone().unwrap_or_default()
}

fn slice(frame: &Frame, family: &str, ports: &[EndpointPort], endpoints: Vec<Endpoint>) -> EndpointSlice {
    EndpointSlice {
        metadata: frame.metadata.clone(),
        address_type: family.to_owned(),
        endpoints: Some(endpoints),
        ports: Some(ports.to_vec()),
    }
}

fn dress(frame: &Frame, meta: &mut ObjectMeta) {
    meta.labels.clone_from(&frame.metadata.labels);
    if frame.metadata.annotations.is_some() {
        meta.annotations.clone_from(&frame.metadata.annotations);
    }
}
