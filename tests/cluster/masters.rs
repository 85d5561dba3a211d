//! Several masters on one etcd, over TLS: two API servers, two schedulers, two controller-managers.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tests::{Cluster, Etcd, Output, eventually};

/// Two masters at addresses of their own.
struct Masters {
    // Dropped in this order: first who uses it, then what is used.
    processes: Vec<(String, Child)>,
    etcd: Etcd,
    cluster: Cluster,
}

const ADDRESSES: [&str; 2] = ["198.51.100.11", "198.51.100.12"];

impl Masters {
    fn start() -> Self {
        let cluster = Cluster::prepared();
        for address in ADDRESSES {
            let added = cluster.command("ip").args(["address", "add", &format!("{address}/24"), "dev", "up0"]).status();
            assert!(added.unwrap().success());
        }
        let both = ADDRESSES.map(|a| format!("--address={a}"));
        let certificates = ["certs", "create", "--hostname-override=node-1", &both[0], &both[1]];
        cluster.oxikube(&certificates).must();
        let etcd = Etcd::start_with_tls_in(&cluster, 3, &cluster.directory().join("pki"));
        Self { processes: Vec::new(), etcd, cluster }
    }

    fn file(&self, name: &str) -> String {
        self.cluster.directory().join(name).display().to_string()
    }

    fn spawn(&mut self, name: &str, arguments: &[String]) {
        let log = std::fs::File::create(self.file(&format!("{name}.log"))).unwrap();
        let mut command = self.cluster.oxikube_command();
        let spawned = command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.processes.push((name.to_owned(), spawned.unwrap()));
    }

    fn api(&mut self, master: usize) {
        let pki = |flag: &str, name: &str| format!("--{flag}={}", self.file(&format!("pki/{name}")));
        let arguments = [
            "apiserver".to_owned(),
            format!("--data-dir={}", self.file(&format!("api-{master}"))),
            format!("--bind-address={}", ADDRESSES[master]),
            format!("--advertise-address={}", ADDRESSES[master]),
            format!("--etcd-servers={}", self.etcd.endpoints().join(",")),
            pki("etcd-cafile", "etcd/ca.crt"),
            pki("etcd-certfile", "apiserver-etcd-client.crt"),
            pki("etcd-keyfile", "apiserver-etcd-client.key"),
            pki("tls-cert-file", "apiserver.crt"),
            pki("tls-private-key-file", "apiserver.key"),
            pki("client-ca-file", "ca.crt"),
            pki("kubelet-client-certificate", "apiserver-kubelet-client.crt"),
            pki("kubelet-client-key", "apiserver-kubelet-client.key"),
            pki("kubelet-certificate-authority", "ca.crt"),
            pki("service-account-key-file", "sa.pub"),
            pki("service-account-signing-key-file", "sa.key"),
        ];
        self.spawn(&format!("api-{master}"), &arguments);
    }

    /// A role that talks to the API server of its own master.
    fn role(&mut self, role: &str, master: usize, more: &[String]) {
        let name = format!("{role}-{master}");
        let text = std::fs::read_to_string(self.file(&format!("{role}.kubeconfig"))).unwrap();
        let own = self.file(&format!("{name}.kubeconfig"));
        std::fs::write(&own, text.replace("127.0.0.1", ADDRESSES[master])).unwrap();
        let mut arguments = vec![role.to_owned(), format!("--kubeconfig={own}")];
        arguments.extend_from_slice(more);
        self.spawn(&name, &arguments);
    }

    fn kubectl(&self, master: usize, arguments: &[&str]) -> Output {
        let server = format!("--server=https://{}:6443", ADDRESSES[master]);
        let mut all = vec![server.as_str()];
        all.extend(arguments);
        self.cluster.kubectl(&all)
    }

    fn ready(&self, master: usize) {
        eventually("the API answers", || {
            let answer = self.kubectl(master, &["get", "--raw", "/readyz"]);
            if answer.ok { Ok(()) } else { Err(answer.stderr) }
        });
    }

    fn signal(&self, name: &str, signal: &str) {
        let child = self.processes.iter().find(|(n, _)| n == name).map(|(_, c)| c.id()).unwrap();
        assert!(Command::new("kill").args([signal, &child.to_string()]).status().unwrap().success());
    }

    fn kill(&mut self, name: &str) {
        let at = self.processes.iter().position(|(n, _)| n == name).unwrap();
        let (_, mut child) = self.processes.remove(at);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Addresses that the Service `kubernetes` leads to.
    fn endpoints(&self, master: usize) -> String {
        let path = "jsonpath={.endpoints[*].addresses[0]}";
        self.kubectl(master, &["get", "endpointslice", "kubernetes", "-o", path]).stdout
    }

    fn holder(&self, lease: &str) -> String {
        let path = "jsonpath={.spec.holderIdentity}";
        self.kubectl(1, &["get", "lease", "-n", "kube-system", lease, "-o", path]).stdout
    }
}

impl Drop for Masters {
    fn drop(&mut self) {
        for (name, child) in &mut self.processes {
            if std::thread::panicking() {
                let log = std::fs::read_to_string(self.cluster.directory().join(format!("{name}.log")));
                let log = log.unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("--- {name}\n{}", lines.split_at(lines.len().saturating_sub(12)).1.join("\n"));
            }
            if child.kill().is_ok() {
                drop(child.wait());
            }
        }
    }
}

#[test]
fn two_api_servers_share_an_etcd() {
    let mut masters = Masters::start();
    // Both make the first objects at once.
    masters.api(0);
    masters.api(1);
    masters.ready(0);
    masters.ready(1);
    eventually("both are endpoints of the Service kubernetes", || match masters.endpoints(0) {
        both if ADDRESSES.iter().all(|a| both.contains(a)) => Ok(()),
        other => Err(other),
    });
    the_store_opens_to_no_certificate_of_the_cluster(&masters);
    nothing_read_is_stale(&masters);
    no_port_or_address_is_given_twice(&masters);
    one_address_survives_a_hanging_server(&mut masters);
    masters.kill("api-0");
    eventually("the dead one is no endpoint any more", || match masters.endpoints(1) {
        one if one == ADDRESSES[1] => Ok(()),
        other => Err(other),
    });
    masters.kubectl(1, &["create", "configmap", "after"]).must();
    masters.etcd.kill(0);
    masters.etcd.kill(1);
    eventually("without a majority of etcd it says why", || {
        let refused = masters.kubectl(1, &["get", "configmaps"]).stderr;
        if refused.contains("more than half of its members") { Ok(()) } else { Err(refused) }
    });
    masters.etcd.run(0);
    eventually("it comes back by itself", || {
        let read = masters.kubectl(1, &["get", "configmap", "after"]);
        if read.ok { Ok(()) } else { Err(read.stderr) }
    });
}

/// etcd knows no rights, so its CA signs for the API servers only: even an administrator's certificate is not taken.
fn the_store_opens_to_no_certificate_of_the_cluster(masters: &Masters) {
    let servers = format!("--etcd-servers={}", masters.etcd.endpoints().join(","));
    let save = |certificate: Option<&str>| {
        let pki = |flag: &str, name: &str| format!("--etcd-{flag}={}", masters.file(&format!("pki/{name}")));
        let file = masters.file(&format!("by-{}", certificate.unwrap_or("nobody")));
        let mut arguments =
            vec!["snapshot".to_owned(), "save".into(), file, servers.clone(), pki("cafile", "etcd/ca.crt")];
        if let Some(name) = certificate {
            arguments.extend([pki("certfile", &format!("{name}.crt")), pki("keyfile", &format!("{name}.key"))]);
        }
        masters.cluster.oxikube(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    std::thread::scope(|scope| {
        let refused = [None, Some("admin")].map(|certificate| scope.spawn(move || save(certificate)));
        for answer in refused {
            let said = answer.join().unwrap().must_fail();
            assert!(said.contains("cannot take a snapshot"), "{said}");
        }
    });
    save(Some("apiserver-etcd-client")).must();
}

/// The first server hangs from here on.
fn one_address_survives_a_hanging_server(masters: &mut Masters) {
    let servers = ADDRESSES.map(|a| format!("{a}:6443")).join(",");
    masters.spawn("balancer", &["balancer".to_owned(), format!("--servers={servers}")]);
    let through = |masters: &Masters| {
        masters.cluster.kubectl(&[
            "--server=https://127.0.0.1:7443",
            "--request-timeout=3s",
            "get",
            "namespaces",
            "-o",
            "name",
        ])
    };
    eventually("the API answers at the balancer", || {
        let answer = through(masters);
        if answer.ok { Ok(()) } else { Err(answer.stderr) }
    });
    masters.signal("api-0", "-STOP");
    let stopped = Instant::now();
    let mut streak = 0;
    eventually("every request is answered again", || {
        let answer = through(masters);
        streak = if answer.ok { streak + 1 } else { 0 };
        if streak >= 4 { Ok(()) } else { Err(answer.stderr) }
    });
    eprintln!("the address works again after {:?}, four requests included", stopped.elapsed());
}

fn nothing_read_is_stale(masters: &Masters) {
    for i in 0..8 {
        let name = format!("c{i}");
        masters.kubectl(i % 2, &["create", "configmap", &name]).must();
        masters.kubectl((i + 1) % 2, &["get", "configmap", &name]).must();
        let listed = masters.kubectl((i + 1) % 2, &["get", "configmaps", "-o", "name"]).must();
        assert!(listed.contains(&name), "{listed}");
    }
}

/// Both give out addresses and ports at the same time.
fn no_port_or_address_is_given_twice(masters: &Masters) {
    let (mut addresses, mut ports) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        for master in 0..2 {
            scope.spawn(move || {
                for i in 0..6 {
                    let name = format!("s{master}-{i}");
                    masters.kubectl(master, &["create", "service", "nodeport", &name, "--tcp=80"]).must();
                }
            });
        }
    });
    let one = |i: usize| {
        masters.kubectl(i, &["create", "service", "nodeport", &format!("same{i}"), "--tcp=80", "--node-port=30777"])
    };
    let taken = std::thread::scope(|scope| {
        let (a, b) = (scope.spawn(|| one(0)), scope.spawn(|| one(1)));
        [a.join().unwrap().ok, b.join().unwrap().ok]
    });
    assert!(taken[0] != taken[1], "one of two has the port: {taken:?}");
    let path = "jsonpath={range .items[*]}{.spec.clusterIP} {.spec.ports[0].nodePort}{\"\\n\"}{end}";
    let services = masters.kubectl(1, &["get", "services", "-o", path]).must();
    for line in services.lines() {
        let (address, port) = line.split_once(' ').unwrap();
        addresses.push(address.to_owned());
        ports.extend((!port.is_empty()).then(|| port.to_owned()));
    }
    assert_eq!((addresses.len(), ports.len()), (14, 13), "{services}");
    for mut list in [addresses, ports] {
        let all = list.len();
        list.sort();
        list.dedup();
        assert_eq!(list.len(), all, "{services}");
    }
}

#[test]
fn one_of_two_leads_and_the_other_takes_over() {
    let mut masters = Masters::start();
    masters.api(0);
    masters.api(1);
    masters.ready(0);
    masters.ready(1);
    let root = format!("--root-ca-file={}", masters.file("pki/ca.crt"));
    masters.role("controller-manager", 0, std::slice::from_ref(&root));
    eventually("the first one leads", || {
        let holder = masters.holder("kube-controller-manager");
        if holder.is_empty() { Err("nobody".to_owned()) } else { Ok(holder) }
    });
    let first = masters.holder("kube-controller-manager");
    masters.role("controller-manager", 1, &[root]);
    masters.kubectl(1, &["create", "deployment", "d", "--image=nginx"]).must();
    let replica_sets = |count: usize| {
        eventually("its replica sets are made", || {
            let sets = masters.kubectl(1, &["get", "replicasets", "-o", "name"]).stdout;
            if sets.lines().count() == count { Ok(()) } else { Err(sets) }
        });
    };
    replica_sets(1);
    assert_eq!(masters.holder("kube-controller-manager"), first, "a second one waits");
    masters.signal("controller-manager-0", "-STOP");
    let stopped = Instant::now();
    let second = eventually("the other takes over", || match masters.holder("kube-controller-manager") {
        holder if holder != first && !holder.is_empty() => Ok(holder),
        holder => Err(holder),
    });
    eprintln!("taken over after {:?}", stopped.elapsed());
    masters.kubectl(1, &["create", "deployment", "e", "--image=nginx"]).must();
    replica_sets(2);
    masters.signal("controller-manager-0", "-CONT");
    let log = masters.file("controller-manager-0.log");
    eventually("the one that was stopped knows that it leads no more", || {
        let log = std::fs::read_to_string(&log).unwrap();
        if log.contains("leading no more") { Ok(()) } else { Err(log) }
    });
    assert_eq!(masters.holder("kube-controller-manager"), second);
    let calm = Instant::now();
    eventually("nothing is done twice", || {
        replica_sets(2);
        if calm.elapsed() > Duration::from_secs(2) { Ok(()) } else { Err("not long enough".to_owned()) }
    });
}

#[test]
fn a_cluster_moves_to_etcd_and_back() {
    let cluster = Cluster::prepared();
    cluster.up(&[]);
    for i in 0..20 {
        cluster.kubectl(&["create", "configmap", &format!("c{i}")]).must();
    }
    let uid = |cluster: &Cluster| cluster.kubectl(&["get", "configmap", "c7", "-o", "jsonpath={.metadata.uid}"]).must();
    let revision = |cluster: &Cluster| -> u64 {
        let raw = cluster.kubectl(&["get", "--raw=/api/v1/namespaces/default/configmaps"]).must();
        let list: serde_json::Value = serde_json::from_str(&raw).unwrap();
        list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
    };
    let kept = uid(&cluster);
    let before = revision(&cluster);
    cluster.oxikube(&["down"]).must();
    let file = cluster.directory().join("cluster.snapshot").display().to_string();
    cluster.oxikube(&["snapshot", "save", &file]).must();
    let etcd = Etcd::start_in(&cluster, 1);
    let servers = format!("--etcd-servers={}", etcd.endpoints().join(","));
    cluster.oxikube(&["snapshot", "restore", &file, &servers]).must();
    assert!(cluster.oxikube(&["snapshot", "restore", &file, &servers]).must_fail().contains("--replace"));
    cluster.up(&[&servers]);
    assert_eq!(uid(&cluster), kept);
    let there = revision(&cluster);
    assert!(there > before, "{there} > {before}");
    let old = cluster.kubectl(&["get", "--raw", &format!("/api/v1/configmaps?watch=true&resourceVersion={before}")]);
    assert!(format!("{}{}", old.stdout, old.stderr).contains("too old resource version"), "{old:?}");
    cluster.kubectl(&["create", "configmap", "made-on-etcd"]).must();
    another_clusters_state_is_refused(&cluster, &servers);
    cluster.oxikube(&["snapshot", "save", &file, &servers]).must();
    let running = cluster.oxikube(&["snapshot", "restore", &file, "--replace"]).must_fail();
    assert!(running.contains("stop it first"), "{running}");
    cluster.oxikube(&["down"]).must();
    cluster.oxikube(&["snapshot", "restore", &file, "--replace"]).must();
    cluster.up(&[]);
    let names = cluster.kubectl(&["get", "configmaps", "-o", "name"]).must();
    assert_eq!(names.lines().count(), 22, "20, kube-root-ca.crt and the one of etcd's time: {names}");
    assert!(revision(&cluster) > there);
}

/// A server with authorities of its own is none of this cluster.
fn another_clusters_state_is_refused(cluster: &Cluster, servers: &str) {
    let data = format!("--data-dir={}", cluster.directory().join("stranger").display());
    let stranger = ["server", &data, "--name=stranger", "--api-port=7447", "--without-node", servers];
    let said = cluster.oxikube(&stranger).must_fail();
    assert!(said.contains("another cluster") && said.contains("/registry/-/owner"), "{said}");
}
