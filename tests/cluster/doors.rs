//! Doors into the cluster: services behind a node's address, and policies on who may pass.

use serde_json::Value;
use tests::{Cluster, eventually};

const WEB: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers: [{name: nginx, image: nginx, imagePullPolicy: IfNotPresent, ports: [{name: http, containerPort: 80}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec:
  containers: [{name: nginx, image: nginx, imagePullPolicy: IfNotPresent}]
";

fn balanced(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  type: LoadBalancer\n  \
         selector: {{app: web}}\n  ports: [{{name: http, port: {port}, targetPort: http}}]\n---\n"
    )
}

fn started(more: &str) -> Cluster {
    let cluster = Cluster::start();
    cluster.apply(&format!("{more}{WEB}"));
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/web", "pod/client", "--timeout=60s"]).must();
    cluster
}

/// What an address says to the node itself.
fn from_node(cluster: &Cluster, url: &str) -> Result<String, String> {
    let output = cluster.command("curl").args(["-sS", "--max-time", "2", url]).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn from_pod(cluster: &Cluster, pod: &str, url: &str) -> Result<String, String> {
    let output = cluster.kubectl(&["exec", pod, "--", "curl", "-sS", "--max-time", "2", url]);
    if output.ok { Ok(output.stdout) } else { Err(output.stderr) }
}

fn welcomes(what: &str, ask: impl Fn() -> Result<String, String>) {
    eventually(what, || match ask()? {
        page if page.contains("Welcome to nginx") => Ok(()),
        page => Err(page),
    });
}

fn address_of(cluster: &Cluster, service: &str) -> Result<String, String> {
    let service = cluster.get(&["service", service])?;
    let ip = service.pointer("/status/loadBalancer/ingress/0/ip").and_then(Value::as_str);
    ip.map(str::to_owned).ok_or_else(|| service["status"].to_string())
}

#[test]
fn a_load_balancer_answers_at_the_nodes_address() {
    let cluster = started(&balanced("web", 8080));
    let address = eventually("the service has an address", || address_of(&cluster, "web"));
    assert_eq!(address, cluster.address());
    let url = format!("http://{address}:8080/");
    welcomes("the node reaches it", || from_node(&cluster, &url));
    welcomes("a pod reaches it", || from_pod(&cluster, "client", &url));
    assert!(cluster.kubectl(&["get", "service", "web"]).must().contains(&address));

    // A port of a node belongs to one service: the other one waits, and it is said why.
    cluster.apply(&balanced("late", 8080));
    eventually("it is said why the other waits", || {
        match cluster.kubectl(&["get", "events", "--field-selector", "involvedObject.name=late"]).must() {
            said if said.contains("port 8080/TCP of node node-1 belongs to service default/web") => Ok(()),
            said => Err(said),
        }
    });
    assert!(address_of(&cluster, "late").is_err());
    cluster.kubectl(&["delete", "service", "web"]).must();
    eventually("the other one gets it", || address_of(&cluster, "late"));
    welcomes("the other one answers", || from_node(&cluster, &url));

    // Kept to the nodes with endpoints, which say on a port of their own that they have some.
    let local = r#"{"spec": {"externalTrafficPolicy": "Local"}}"#;
    cluster.kubectl(&["patch", "service", "late", "-p", local]).must();
    let port = cluster.get(&["service", "late"]).unwrap()["spec"]["healthCheckNodePort"].as_i64().unwrap();
    let health = format!("http://{address}:{port}/");
    eventually("the node says that it has an endpoint", || match from_node(&cluster, &health)? {
        said if said.contains(r#""localEndpoints":1"#) => Ok(()),
        said => Err(said),
    });
    welcomes("it answers still", || from_node(&cluster, &url));

    // Only for some clients.
    let ranges = r#"{"spec": {"loadBalancerSourceRanges": ["203.0.113.0/24"]}}"#;
    cluster.kubectl(&["patch", "service", "late", "-p", ranges]).must();
    eventually("it is closed", || from_node(&cluster, &url).map_or(Ok(()), Err));
}

#[test]
fn policies_say_who_may_pass() {
    let cluster = started("");
    let pod = |name: &str| cluster.get(&["pod", name]).unwrap()["status"]["podIP"].as_str().unwrap().to_owned();
    let url = format!("http://{}/", pod("web"));
    let asks = |from: &'static str| from_pod(&cluster, from, &url);
    let closed = |what: &str, from: &'static str| eventually(what, || asks(from).map_or(Ok(()), Err));
    let policy = |ingress: &str| {
        let said = cluster.apply(&format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: web}}\nspec:\n  \
             podSelector: {{matchLabels: {{app: web}}}}\n  policyTypes: [Ingress]\n  ingress: {ingress}\n"
        ));
        assert!(!said.contains("Warning"), "{said}");
    };
    welcomes("everybody passes", || asks("client"));
    policy("[]");
    closed("nobody passes", "client");
    welcomes("the node passes", || from_node(&cluster, &url));
    welcomes("a pod reaches itself", || asks("web"));
    policy("[{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: http}]}]");
    welcomes("the client passes", || asks("client"));
    cluster.kubectl(&["label", "pod", "client", "app=other", "--overwrite"]).must();
    closed("it is another one now", "client");
    cluster.kubectl(&["delete", "networkpolicy", "web"]).must();
    welcomes("everybody passes again", || asks("client"));

    let egress = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: out}\nspec:\n  \
                  podSelector: {matchLabels: {app: other}}\n  policyTypes: [Egress]\n";
    cluster.apply(egress);
    closed("nothing goes out", "client");
    // A pod that is made under a policy finds its network closed until it is known what may pass, and then open.
    cluster.apply(&WEB.replace("name: client", "name: fresh"));
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/fresh", "--timeout=60s"]).must();
    welcomes("who is not meant passes", || asks("fresh"));
}
