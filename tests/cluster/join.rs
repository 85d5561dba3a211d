//! A cluster of several machines, as kubeadm makes one: `init` on the first, `join` on another, `reset`; whoever comes with the
//! wrong token, hash or name is told so.

mod masters;

use std::path::Path;
use std::process::Command;

use tests::{Cluster, Machine, Output, eventually};

/// What `init` printed for other machines.
struct Way {
    server: String,
    token: String,
    hash: String,
}

impl Way {
    fn of(printed: &str) -> Self {
        let line = printed.lines().map(str::trim).find(|line| line.starts_with("oxikube join ")).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |flag: &str| words[words.iter().position(|word| *word == flag).unwrap() + 1].to_owned();
        Self { server: after("join"), token: after("--token"), hash: after("--discovery-token-ca-cert-hash") }
    }

    /// Its command, with other words for some of it.
    fn join(&self, machine: &Machine, more: &[&str]) -> Output {
        let group = format!("--cgroup-root={}", machine.name());
        let mut all = vec!["join", &self.server, &group];
        let defaults = [
            ("--token", self.token.as_str()),
            ("--discovery-token-ca-cert-hash", self.hash.as_str()),
            ("--node-name", "second"),
            ("--timeout", "90s"),
        ];
        for (flag, value) in defaults {
            if !more.contains(&flag) {
                all.extend([flag, value]);
            }
        }
        all.extend(more);
        machine.oxikube(&all)
    }
}

fn init(cluster: &Cluster, more: &[&str]) -> Output {
    let name = format!("--name={}", cluster.name());
    let words = ["init", &name, "--hostname-override=node-1", "--timeout=60s"];
    cluster.oxikube(&[&words, more].concat())
}

fn refused(output: Output, why: &str) {
    let said = output.must_fail();
    assert!(said.contains(why), "{said}");
}

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  nodeName: second
  terminationGracePeriodSeconds: 1
  containers: [{name: nginx, image: nginx, imagePullPolicy: IfNotPresent}]
";

#[test]
fn a_machine_joins_serves_pods_leaves_and_joins_again() {
    let cluster = Cluster::prepared();
    // Certificates are renewed in the sight of the test.
    let short = ["--cluster-signing-duration=40s"];
    init(&cluster, &short).must();
    let again = init(&cluster, &short).must();
    assert!(again.contains("runs already"), "{again}");
    let way = Way::of(&again);
    assert_eq!(way.server, format!("{}:6443", cluster.address()));
    let machine = Machine::beside(&cluster, 20);
    who_is_wrong_is_told_so(&cluster, &machine, &way);
    certificates_are_renewed_by_hand(&cluster);

    way.join(&machine, &[]).must();
    let ready = cluster.kubectl(&["get", "nodes", "--no-headers"]).must();
    assert!(ready.lines().any(|line| line.starts_with("second") && line.contains(" Ready ")), "{ready}");
    refused(way.join(&machine, &["--node-name", "third"]), "belongs to the node second");
    let first = credentials(&machine);
    refused(machine.oxikube(&["certs", "renew"]), "asks its cluster for certificates");
    a_pod_runs_there(&cluster, &machine);
    a_killed_node_is_joined_again(&machine, &way);

    eventually("the node has its next certificate", || match credentials(&machine) {
        same if same == first => Err("still the first one".into()),
        _ => Ok(()),
    });
    answers(&cluster);

    let left = machine.oxikube(&["reset"]).must();
    assert!(left.contains("node second removed from the cluster"), "{left}");
    nothing_is_left(&machine);
    let gone = cluster.kubectl(&["get", "node", "second"]).must_fail();
    assert!(gone.contains("NotFound"), "{gone}");
    let nothing = machine.oxikube(&["reset"]).must();
    assert!(nothing.contains("nothing to reset"), "{nothing}");

    let printed = cluster.oxikube(&["token", "create", "--print-join-command"]).must();
    Way::of(&printed).join(&machine, &[]).must();
    // The cluster goes first, and the machine can still be cleaned.
    refused(cluster.oxikube(&["reset"]), "--force");
    cluster.oxikube(&["reset", "--force"]).must();
    assert!(!cluster.directory().exists());
    let left = machine.oxikube(&["reset"]).must();
    assert!(left.contains("kubectl delete node second"), "{left}");
    nothing_is_left(&machine);
}

fn who_is_wrong_is_told_so(cluster: &Cluster, machine: &Machine, way: &Way) {
    let foreign = format!("sha256:{}", "0".repeat(64));
    refused(way.join(machine, &["--discovery-token-ca-cert-hash", &foreign]), "none of those given");
    refused(way.join(machine, &["--discovery-token-ca-cert-hash", "sha256:12"]), "is no fingerprint");
    let wrong = format!("{}.0123456789abcdef", way.token.split_once('.').unwrap().0);
    refused(way.join(machine, &["--token", &wrong]), "the token is wrong");
    let short = cluster.oxikube(&["token", "create", "--ttl", "1s"]).must();
    eventually("its time is over", || match cluster.oxikube(&["token", "list"]).must() {
        list if list.contains(short.trim()) => Err(list),
        _ => Ok(()),
    });
    refused(way.join(machine, &["--token", short.trim()]), "it may have expired");
    refused(way.join(machine, &["--node-name", "node-1"]), "has a node called node-1 already");
    let elsewhere = Way { server: "198.51.100.77:6443".into(), token: way.token.clone(), hash: way.hash.clone() };
    refused(elsewhere.join(machine, &[]), "cannot be reached");
    let zeros = "0".repeat(64);
    let master = way.join(machine, &["--control-plane", "--certificate-key", &zeros]);
    refused(master, "no other master can share");
    let unpinned = ["join", &way.server, "--token", &way.token];
    refused(machine.oxikube(&unpinned), "cannot tell the cluster from an impostor");
    assert!(!machine.directory().join("node.json").exists());
}

fn certificates_are_renewed_by_hand(cluster: &Cluster) {
    let ends = |file: &str| {
        let list = cluster.oxikube(&["certs", "check-expiration", "-o", "json"]).must();
        let list: Vec<serde_json::Value> = serde_json::from_str(&list).unwrap();
        let found = list.into_iter().find(|certificate| certificate["file"] == file);
        let good = found.as_ref().is_some_and(|found| found["daysLeft"].as_i64().unwrap() >= 364);
        assert!(good && found.as_ref().unwrap()["authority"] == "kubernetes", "{file}: {found:?}");
    };
    let kubeconfig = || std::fs::read_to_string(cluster.directory().join("admin.kubeconfig")).unwrap();
    let before = kubeconfig();
    let renewed = cluster.oxikube(&["certs", "renew", "admin"]).must();
    assert!(renewed.starts_with("pki/admin.crt\nadmin.kubeconfig\n"), "{renewed}");
    assert_ne!(before, kubeconfig());
    ends("admin.kubeconfig");
    ends("pki/apiserver.crt");
    cluster.kubectl(&["get", "nodes"]).must();
    refused(cluster.oxikube(&["certs", "renew", "admim"]), "check-expiration");
}

fn credentials(machine: &Machine) -> String {
    std::fs::read_to_string(machine.directory().join("kubelet.kubeconfig")).unwrap()
}

fn a_pod_runs_there(cluster: &Cluster, machine: &Machine) {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/nginx.tar");
    machine.oxikube(&["image", "import", &archive.display().to_string()]).must();
    cluster.apply(POD);
    cluster.kubectl(&["wait", "pod/web", "--for=condition=Ready", "--timeout=60s"]).must();
    answers(cluster);
    let address = cluster.get(&["pod", "web"]).unwrap()["status"]["podIP"].as_str().unwrap().to_owned();
    eventually("it is reached from the first machine", || {
        let page = cluster.command("curl").args(["-s", "-m", "3", &format!("http://{address}/")]).output().unwrap();
        let page = String::from_utf8_lossy(&page.stdout).into_owned();
        if page.contains("Welcome to nginx") { Ok(()) } else { Err(page) }
    });
}

/// Its logs are read, and something is run in it: through the kubelet's own server, whose certificate the cluster signed.
fn answers(cluster: &Cluster) {
    eventually("the kubelet answers", || {
        let page = cluster.kubectl(&["exec", "web", "--", "curl", "-s", "-m", "3", "http://localhost/joined"]);
        let logs = cluster.kubectl(&["logs", "web"]);
        if page.ok && logs.stdout.contains("GET /joined") { Ok(()) } else { Err(page.stderr + &logs.stderr) }
    });
}

fn a_killed_node_is_joined_again(machine: &Machine, way: &Way) {
    let record = std::fs::read_to_string(machine.directory().join("run/server.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let pid = record["pid"].to_string();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    eventually("it is gone", || if Path::new("/proc").join(&pid).exists() { Err(pid.clone()) } else { Ok(()) });
    way.join(machine, &[]).must();
    // Once more: it runs already.
    way.join(machine, &[]).must();
}

fn nothing_is_left(machine: &Machine) {
    assert!(!machine.directory().exists());
    let said = |program: &str, arguments: &[&str]| {
        let output = machine.command(program).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let links = said("ip", &["-brief", "link"]);
    assert_eq!(links.lines().count(), 2, "{links}");
    assert_eq!(said("nft", &["list", "tables"]), "");
    assert_eq!(said("find", &["/sys/fs/cgroup", "-maxdepth", "2", "-name", machine.name()]), "");
    assert!(!said("cat", &["/proc/mounts"]).contains(&machine.directory().display().to_string()));
}
