//! Ingresses, served at the node's address by the built-in gateway.

use serde_json::Value;
use tests::{Cluster, eventually};

/// Two shops that say who they are, whatever is asked.
fn shops() -> String {
    let shop = |name: &str| {
        format!(
            "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: nginx
        image: nginx
        imagePullPolicy: IfNotPresent
        command: [sh, -c, \"mkdir -p /usr/share/nginx/html; cd /usr/share/nginx/html; mkdir -p api/v1;
          for p in . api api/v1; do echo {name} > $p/index.html; done;
          head -c 3000000 /dev/zero > big; exec nginx -g 'daemon off;'\"]
        ports: [{{name: http, containerPort: 80}}]
        readinessProbe: {{httpGet: {{path: /, port: http}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 8080, targetPort: http}}]}}
---
"
        )
    };
    shop("front") + &shop("back")
}

/// What the gateway says to a client that believes the node to have this host.
fn ask(cluster: &Cluster, url: &str, more: &[&str]) -> Result<String, String> {
    let (scheme, rest) = url.split_once("://").unwrap();
    let host = rest.split_once('/').unwrap().0;
    let port = if scheme == "https" { 443 } else { 80 };
    let resolve = format!("{host}:{port}:{}", cluster.address());
    let mut curl = cluster.command("curl");
    curl.args(["-sS", "--max-time", "10", "--noproxy", "*", "--resolve", &resolve]).args(more).arg(url);
    let output = curl.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Waits until the answer has this in it.
fn says(cluster: &Cluster, url: &str, more: &[&str], wanted: &str) {
    eventually(&format!("{url} says {wanted:?}"), || match ask(cluster, url, more)? {
        said if said.contains(wanted) => Ok(()),
        said => Err(said),
    });
}

fn told(cluster: &Cluster, object: &str, wanted: &str) {
    let selector = format!("involvedObject.name={object}");
    eventually(&format!("it is told of {object} that {wanted:?}"), || {
        match cluster.kubectl(&["get", "events", "--field-selector", &selector]).must() {
            said if said.contains(wanted) => Ok(()),
            said => Err(said),
        }
    });
}

#[test]
fn an_ingress_is_served_at_the_nodes_address() {
    let cluster = Cluster::start();
    cluster.apply(&shops());
    eventually("there is a class", || cluster.get(&["ingressclass", "oxikube"]));
    // The host is one that the API server's certificate names: it is shown below.
    let rules = [
        "--rule=kubernetes.default/*=front:8080,tls=shop",
        "--rule=kubernetes.default/api*=back:http",
        "--rule=*.shop.example/*=back:8080",
    ];
    let made = cluster.kubectl(&[&["create", "ingress", "shop"], rules.as_slice()].concat());
    assert!(!made.stderr.contains("Warning"), "{}", made.stderr);
    made.must();
    let address = eventually("the ingress has an address", || {
        let ingress = cluster.get(&["ingress", "shop"])?;
        assert_eq!(ingress["spec"]["ingressClassName"], "oxikube");
        let ip = ingress.pointer("/status/loadBalancer/ingress/0/ip").and_then(Value::as_str);
        ip.map(str::to_owned).ok_or_else(|| ingress["status"].to_string())
    });
    assert_eq!(address, cluster.address());
    for shop in ["front", "back"] {
        cluster.kubectl(&["rollout", "status", &format!("deployment/{shop}"), "--timeout=60s"]).must();
    }

    hosts_and_paths(&cluster);
    certificates(&cluster);
    changes_are_seen(&cluster);
    the_port_is_the_gateways(&cluster);

    cluster.kubectl(&["delete", "ingress", "shop"]).must();
    eventually("the gateway is closed", || ask(&cluster, "https://kubernetes.default/", &["-k"]).map_or(Ok(()), Err));
    // The port is free for others.
    says(&cluster, "http://kubernetes.default/", &[], "back");
}

fn hosts_and_paths(cluster: &Cluster) {
    says(cluster, "http://kubernetes.default/", &[], "front");
    says(cluster, "http://kubernetes.default/api/v1/", &[], "back");
    assert!(ask(cluster, "http://kubernetes.default/apix", &[]).unwrap().contains("404 Not Found</title>"));
    assert_eq!(ask(cluster, "http://a.shop.example/", &[]).unwrap().trim(), "back");
    let unknown = ask(cluster, "http://unknown.example/x", &["-i"]).unwrap();
    assert!(unknown.starts_with("HTTP/1.1 404"), "{unknown}");
    assert!(unknown.contains("no Ingress has a rule for host unknown.example and path /x"), "{unknown}");
    // A body of size, up and down.
    let big = cluster.directory().join("big");
    std::fs::write(&big, vec![b'x'; 2_000_000]).unwrap();
    let upload = format!("@{}", big.display());
    let refused = ask(cluster, "http://kubernetes.default/", &["-i", "--data-binary", &upload]).unwrap();
    assert!(refused.contains("405 Not Allowed") || refused.contains("413"), "{refused}");
    assert_eq!(ask(cluster, "http://kubernetes.default/big", &[]).unwrap().len(), 3_000_000);
}

fn certificates(cluster: &Cluster) {
    told(cluster, "shop", "secret shop is not there");
    let insecure = ask(cluster, "https://kubernetes.default/", &["-k", "-v", "--stderr", "-"]).unwrap();
    assert!(insecure.contains("oxikube gateway default certificate") && insecure.contains("front"), "{insecure}");
    let pki = |name: &str| cluster.directory().join("pki").join(name).display().to_string();
    let (certificate, key) = (format!("--cert={}", pki("apiserver.crt")), format!("--key={}", pki("apiserver.key")));
    cluster.kubectl(&["create", "secret", "tls", "shop", &certificate, &key]).must();
    let trusts = ["--cacert", &pki("ca.crt"), "--http2", "-w", "version %{http_version}"];
    says(cluster, "https://kubernetes.default/", &trusts, "front\nversion 2");
    assert_eq!(ask(cluster, "https://kubernetes.default/big", &["-k", "--http2"]).unwrap().len(), 3_000_000);
}

fn changes_are_seen(cluster: &Cluster) {
    let to = |service: &str| {
        format!(
            r#"[{{"op": "replace", "path": "/spec/rules/0/http/paths/0/backend/service/name", "value": "{service}"}}]"#
        )
    };
    let patch =
        |service: &str| cluster.kubectl(&["patch", "ingress", "shop", "--type=json", "-p", &to(service)]).must();
    patch("back");
    says(cluster, "http://kubernetes.default/", &[], "back");
    patch("nothing");
    says(
        cluster,
        "http://kubernetes.default/",
        &["-i"],
        "503 Service Unavailable: service default/nothing is not there",
    );
    told(cluster, "shop", "service default/nothing is not there");
    patch("front");
    cluster.kubectl(&["scale", "deployment", "front", "--replicas=0"]).must();
    says(cluster, "http://kubernetes.default/", &[], "service default/front has no ready endpoint");
    cluster.kubectl(&["scale", "deployment", "front", "--replicas=1"]).must();
    says(cluster, "http://kubernetes.default/", &[], "front\n");
    // Another controller's is nobody's business here.
    let foreign = ["create", "ingress", "foreign", "--class=other", "--rule=foreign.example/*=back:8080"];
    cluster.kubectl(&foreign).must();
    assert!(ask(cluster, "http://foreign.example/", &[]).unwrap().starts_with("404 Not Found: no Ingress"));
    assert_eq!(cluster.get(&["ingress", "foreign"]).unwrap()["status"]["loadBalancer"], serde_json::json!({}));
}

/// A balanced service waits for it, and is told why.
fn the_port_is_the_gateways(cluster: &Cluster) {
    cluster.kubectl(&["expose", "deployment", "back", "--name=late", "--port=80", "--type=LoadBalancer"]).must();
    told(cluster, "late", "port 80/TCP of node node-1 belongs to the gateway of ingresses");
    says(cluster, "http://kubernetes.default/", &[], "front");
}

#[test]
fn every_node_serves_an_ingress() {
    let cluster = Cluster::prepared();
    cluster.up(&["--nodes=2"]);
    cluster.import_nginx();
    cluster.apply(&shops());
    let pki = |name: &str| cluster.directory().join("pki").join(name).display().to_string();
    let (certificate, key) = (format!("--cert={}", pki("apiserver.crt")), format!("--key={}", pki("apiserver.key")));
    cluster.kubectl(&["create", "secret", "tls", "shop", &certificate, &key]).must();
    cluster.kubectl(&["create", "ingress", "shop", "--rule=kubernetes.default/*=front:http,tls=shop"]).must();
    let addresses = eventually("both nodes answer", || {
        let ingress = cluster.get(&["ingress", "shop"])?;
        let points = ingress.pointer("/status/loadBalancer/ingress").and_then(Value::as_array).cloned();
        let points: Vec<String> =
            points.iter().flatten().filter_map(|point| point["ip"].as_str().map(str::to_owned)).collect();
        if points.len() == 2 { Ok(points) } else { Err(format!("{points:?}")) }
    });
    // A node of its own may read the certificate that the Ingress names, and shows it.
    for address in addresses {
        let resolve = format!("kubernetes.default:443:{address}");
        eventually(&format!("{address} says who it is"), || {
            let mut curl = cluster.command("curl");
            curl.args(["-sS", "--max-time", "10", "--noproxy", "*", "--cacert", &pki("ca.crt"), "--resolve", &resolve]);
            let output = curl.arg("https://kubernetes.default/").output().unwrap();
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            match text(&output.stdout) {
                said if said.trim() == "front" => Ok(()),
                said => Err(said + &text(&output.stderr)),
            }
        });
    }
}
