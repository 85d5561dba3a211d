//! Names from inside a pod.

use tests::{Cluster, eventually};

const MANIFEST: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  hostname: first
  subdomain: peers
  containers: [{name: nginx, image: nginx, imagePullPolicy: IfNotPresent}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: peers}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {type: ExternalName, externalName: web.default.svc.cluster.local}
";

/// What the pod's own resolver says: addresses of a name, or names of an address.
fn getent(cluster: &Cluster, what: &str) -> Result<String, String> {
    let output = cluster.kubectl(&["exec", "web", "--", "getent", "hosts", what]);
    if output.ok { Ok(output.stdout) } else { Err(format!("{what}: {}", output.stderr)) }
}

fn finds(cluster: &Cluster, name: &str, expected: &str) {
    eventually(&format!("{name} leads to {expected}"), || match getent(cluster, name)? {
        said if said.contains(expected) => Ok(()),
        said => Err(said),
    });
}

#[test]
fn services_are_found_by_name() {
    let cluster = Cluster::start();
    cluster.apply(MANIFEST);
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"]).must();
    let of = |arguments: &[&str], field: &str| {
        cluster.get(arguments).unwrap().pointer(field).and_then(|ip| ip.as_str()).unwrap().to_owned()
    };
    let service = of(&["service", "web"], "/spec/clusterIP");
    let pod = of(&["pod", "web"], "/status/podIP");

    // Every length of name that the search path allows.
    for name in ["web", "web.default", "web.default.svc", "web.default.svc.cluster.local"] {
        finds(&cluster, name, &service);
    }
    finds(&cluster, "kubernetes.default", &of(&["service", "kubernetes"], "/spec/clusterIP"));
    finds(&cluster, "kube-dns.kube-system", "10.96.0.10");
    finds(&cluster, "peers", &pod);
    finds(&cluster, "first.peers", &pod);
    finds(&cluster, "other", &service);
    finds(&cluster, &service, "web.default.svc.cluster.local");
    finds(&cluster, &pod, "first.peers.default.svc.cluster.local");
    finds(&cluster, &format!("{}.default.pod.cluster.local", pod.replace('.', "-")), &pod);
    assert!(getent(&cluster, "absent.default.svc.cluster.local").is_err());

    let page = cluster.kubectl(&["exec", "web", "--", "curl", "-s", "http://web"]).must();
    assert!(page.contains("Welcome to nginx"), "{page}");

    // A name is gone as soon as its service is.
    cluster.kubectl(&["delete", "service", "web"]).must();
    eventually("the name is gone", || match getent(&cluster, "web.default.svc.cluster.local") {
        Err(_) => Ok(()),
        Ok(said) => Err(said),
    });
}
