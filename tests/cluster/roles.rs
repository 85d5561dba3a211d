//! Every role as its own process, under upstream's name of its binary, with certificates and kubeconfigs of its own: the
//! same nginx runs.

use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};
use std::time::Duration;

use tests::{Cluster, eventually};

/// Processes that end with the test.
struct Processes(Vec<Child>);

impl Processes {
    fn start(&mut self, cluster: &Cluster, role: &str, arguments: &[&str]) {
        let log = std::fs::File::create(cluster.directory().join(format!("{role}.log"))).unwrap();
        let mut command = if role.starts_with("kube") {
            cluster.oxikube_called(role)
        } else {
            let mut command = cluster.oxikube_command();
            command.arg(role);
            command
        };
        command.env("NOTIFY_SOCKET", notify_socket(cluster));
        let spawned = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.0.push(spawned.unwrap());
    }

    fn stop(&mut self) {
        for child in self.0.iter_mut().rev() {
            // nsenter becomes the role: the process id is the role's.
            let asked = std::process::Command::new("kill").arg(child.id().to_string()).status();
            assert!(asked.unwrap().success());
            child.wait().unwrap();
        }
        self.0.clear();
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in &mut self.0 {
            if child.kill().is_ok() {
                drop(child.wait());
            }
        }
    }
}

/// Where roles say that they are ready.
fn notify_socket(cluster: &Cluster) -> std::path::PathBuf {
    cluster.directory().join("notify")
}

#[test]
fn nginx_on_a_cluster_of_separate_processes() {
    let cluster = Cluster::prepared();
    let address = format!("--address={}", cluster.address());
    cluster.oxikube(&["certs", "create", "--hostname-override=node-1", &address]).must();
    let file = |name: &str| cluster.directory().join(name).display().to_string();
    let pki = |flag: &str, name: &str| format!("--{flag}={}", file(&format!("pki/{name}")));
    let config = |name: &str| format!("--kubeconfig={}", file(&format!("{name}.kubeconfig")));
    let data = |name: &str| format!("--data-dir={}", file(name));
    let instance = format!("--name={}", cluster.name());
    let mut processes = Processes(Vec::new());
    let api: Vec<String> = vec![
        data("api"),
        pki("tls-cert-file", "apiserver.crt"),
        pki("tls-private-key-file", "apiserver.key"),
        pki("client-ca-file", "ca.crt"),
        pki("kubelet-client-certificate", "apiserver-kubelet-client.crt"),
        pki("kubelet-client-key", "apiserver-kubelet-client.key"),
        pki("kubelet-certificate-authority", "ca.crt"),
        pki("service-account-key-file", "sa.pub"),
        pki("service-account-signing-key-file", "sa.key"),
    ];
    let supervisor = UnixDatagram::bind(notify_socket(&cluster)).unwrap();
    supervisor.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    processes.start(&cluster, "kube-apiserver", &api.iter().map(String::as_str).collect::<Vec<_>>());
    let mut word = [0; 32];
    let length = supervisor.recv(&mut word).expect("the API server says that it is ready");
    assert_eq!(&word[..length], b"READY=1");
    eventually("the API answers", || {
        let answer = cluster.kubectl(&["get", "--raw", "/readyz"]);
        if answer.ok { Ok(()) } else { Err(answer.stderr) }
    });
    processes.start(
        &cluster,
        "kube-controller-manager",
        &[&config("controller-manager"), &pki("root-ca-file", "ca.crt")],
    );
    processes.start(&cluster, "kube-scheduler", &[&config("scheduler")]);
    processes.start(&cluster, "kube-proxy", &[&config("proxy"), &instance, "--hostname-override=node-1"]);
    processes.start(&cluster, "dns", &[&config("dns")]);
    let import = |command: &[&str]| cluster.oxikube_command().args(command).arg(data("node")).output().unwrap();
    let archive = format!("{}/../target/nginx.tar", env!("CARGO_MANIFEST_DIR"));
    let kubelet: Vec<String> = vec![
        data("node"),
        config("node"),
        instance.clone(),
        "--hostname-override=node-1".into(),
        pki("tls-cert-file", "kubelet.crt"),
        pki("tls-private-key-file", "kubelet.key"),
        pki("client-ca-file", "ca.crt"),
    ];
    processes.start(&cluster, "kubelet", &kubelet.iter().map(String::as_str).collect::<Vec<_>>());
    eventually("the node is there", || cluster.get(&["node", "node-1"]).map(drop));
    cluster.kubectl(&["wait", "node/node-1", "--for=condition=Ready", "--timeout=60s"]).must();
    eventually("the image is in", || {
        let output = import(&["image", "import", &archive]);
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    });
    cluster.apply(&std::fs::read_to_string(format!("{}/../examples/nginx.yaml", env!("CARGO_MANIFEST_DIR"))).unwrap());
    cluster.kubectl(&["rollout", "status", "deployment/nginx", "--timeout=60s"]).must();
    let service = cluster.get(&["service", "nginx"]).unwrap();
    let url = format!("http://{}/", service["spec"]["clusterIP"].as_str().unwrap());
    eventually("the service answers", || {
        let page = cluster.command("curl").args(["-s", "-m", "3", &url]).output().unwrap();
        if String::from_utf8_lossy(&page.stdout).contains("Welcome to nginx") {
            Ok(())
        } else {
            Err(format!("{page:?}"))
        }
    });
    let pod = cluster.kubectl(&["get", "pods", "-l", "app=nginx", "-o", "name"]).must();
    let pod = pod.lines().next().unwrap().to_owned();
    eventually("the service is found by name", || {
        let page = cluster.kubectl(&["exec", &pod, "--", "curl", "-s", "-m", "3", "http://nginx"]);
        if page.stdout.contains("Welcome to nginx") { Ok(()) } else { Err(page.stderr) }
    });
    processes.stop();
    let down = cluster.oxikube_command().args(["down", "--purge", &instance]).arg(data("node")).output().unwrap();
    assert!(down.status.success(), "{down:?}");
}
