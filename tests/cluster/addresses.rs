//! Addresses of Services: endpoints that somebody keeps by hand, and further ranges.

use serde_json::Value;
use tests::{Cluster, eventually};

const OUTSIDE: &str = "
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {ports: [{name: web, port: 80}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: outside}
subsets: [{addresses: [{ip: ADDRESS}], ports: [{name: web, port: 80}]}]
";

/// A cluster with a pod that answers on port 80; its address.
fn start() -> (Cluster, String) {
    let cluster = Cluster::start();
    cluster.kubectl(&["run", "web", "--image=nginx"]).must();
    cluster.kubectl(&["wait", "pod/web", "--for=condition=Ready", "--timeout=60s"]).must();
    let address = cluster.get(&["pod", "web"]).unwrap()["status"]["podIP"].as_str().unwrap().to_owned();
    (cluster, address)
}

fn answers(cluster: &Cluster, url: &str) {
    eventually(&format!("{url} answers"), || {
        let page = cluster.kubectl(&["exec", "web", "--", "curl", "-s", "-m", "5", url]);
        if page.stdout.contains("Welcome to nginx") { Ok(()) } else { Err(format!("{page:?}")) }
    });
}

/// Waits until the mirrored slices of the Service have these addresses.
fn mirrored(cluster: &Cluster, wanted: &[&str]) {
    let labels = "kubernetes.io/service-name=outside,\
        endpointslice.kubernetes.io/managed-by=endpointslicemirroring-controller.k8s.io";
    eventually(&format!("{wanted:?} are mirrored"), || {
        let slices = cluster.get(&["endpointslices", "-l", labels])?;
        let endpoints =
            slices["items"].as_array().into_iter().flatten().flat_map(|slice| slice["endpoints"].as_array());
        let addresses: Vec<&str> = endpoints.flatten().filter_map(|e| e["addresses"][0].as_str()).collect();
        if addresses == wanted { Ok(()) } else { Err(slices["items"].to_string()) }
    });
}

#[test]
fn endpoints_kept_by_hand_are_mirrored_and_served() {
    let (cluster, address) = start();
    cluster.apply(&OUTSIDE.replace("ADDRESS", &address));
    mirrored(&cluster, &[&address]);
    answers(&cluster, "http://outside");
    cluster.apply(&OUTSIDE.replace("ADDRESS", "192.0.2.7"));
    mirrored(&cluster, &["192.0.2.7"]);
    cluster.kubectl(&["label", "endpoints", "outside", "endpointslice.kubernetes.io/skip-mirror=true"]).must();
    mirrored(&cluster, &[]);
    cluster.kubectl(&["label", "endpoints", "outside", "endpointslice.kubernetes.io/skip-mirror-"]).must();
    mirrored(&cluster, &["192.0.2.7"]);
    cluster.kubectl(&["delete", "endpoints", "outside"]).must();
    mirrored(&cluster, &[]);
}

/// Waits until a range's condition Ready has this status.
fn range_is(cluster: &Cluster, range: &str, ready: &str) -> Value {
    eventually(&format!("the range {range} is ready: {ready}"), || {
        let range = cluster.get(&["servicecidr", range])?;
        let condition = range["status"]["conditions"][0].clone();
        let is = condition["type"] == "Ready" && condition["status"] == ready;
        if is { Ok(condition) } else { Err(range.to_string()) }
    })
}

fn expose(cluster: &Cluster, name: &str, address: &str) -> tests::Output {
    let more = format!(r#"{{"spec": {{"clusterIP": "{address}"}}}}"#);
    cluster.kubectl(&["expose", "pod", "web", "--name", name, "--port=80", "--overrides", &more])
}

#[test]
fn a_further_range_of_addresses_serves_until_nobody_needs_it() {
    let (cluster, _) = start();
    range_is(&cluster, "kubernetes", "True");
    assert!(expose(&cluster, "early", "10.200.0.7").must_fail().contains("is not in the valid range"));
    cluster.apply(
        "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: further}\nspec: {cidrs: [10.200.0.0/24]}\n",
    );
    range_is(&cluster, "further", "True");
    expose(&cluster, "there", "10.200.0.7").must();
    answers(&cluster, "http://10.200.0.7");
    answers(&cluster, "http://there");

    cluster.kubectl(&["delete", "servicecidr", "further", "--wait=false"]).must();
    let condition = range_is(&cluster, "further", "False");
    assert_eq!(condition["reason"], "Terminating");
    assert!(condition["message"].as_str().unwrap().contains("still IPAddresses"), "{condition}");
    assert!(expose(&cluster, "late", "10.200.0.8").must_fail().contains("is not in the valid range"));
    answers(&cluster, "http://there");
    cluster.kubectl(&["delete", "service", "there"]).must();
    cluster.kubectl(&["wait", "servicecidr/further", "--for=delete", "--timeout=60s"]).must();

    // A small cluster's nodes may ask as often as they like.
    let node = cluster.get(&["node", "node-1"]).unwrap();
    assert_eq!(node["metadata"]["annotations"]["node.alpha.kubernetes.io/ttl"], "0");
}
