//! Masters, members of etcd and cables of three machines die, hang and are cut at random under a stream of writes by several
//! clients. Afterwards everything that was acknowledged is there, every watch that lived through it saw every change once and
//! in order, there are as many replicas as wanted, and each pod runs once. Of a pod with a name of its own there were never two.
//!
//! `STORM_SEED=…` repeats what a seed of before has chosen.

mod faults;
mod history;
mod load;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tests::{Cluster, eventually};

use load::{Load, Outcome, Tally};

const MANIFEST: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: storm}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: storm}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: nginx, image: nginx}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: storm}
spec:
  replicas: 2
  serviceName: db
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      volumes:
      - {name: locks, hostPath: {path: LOCKS, type: DirectoryOrCreate}}
      - {name: flock, hostPath: {path: /usr/bin/flock, type: File}}
      containers:
      - name: nginx
        image: nginx
        command: [sh, -c, 'exec 9>/locks/$HOSTNAME; /flock -n 9 || touch /locks/$HOSTNAME-runs-twice; exec nginx -g \"daemon off;\"']
        volumeMounts: [{name: locks, mountPath: /locks}, {name: flock, mountPath: /flock}]
";

fn seed() -> u64 {
    let given = std::env::var("STORM_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::from(d.subsec_nanos())))
}

/// The objects of the load, at one server.
fn objects(client: kube::Client) -> Api<ConfigMap> {
    Api::namespaced(client, "storm")
}

/// As many pods as wanted, on every master's word, and on the machines those and no others.
fn pods_are_right(cluster: &Cluster, locks: &Path) {
    for number in 1..=3 {
        let address = cluster.status()["machines"][number - 1]["address"].as_str().unwrap().to_owned();
        let server = format!("--server=https://{address}:6443");
        eventually("the pods are right", || {
            let get = |what: &str| cluster.get(&[&server, "-n", "storm", what]);
            let pods = get("pods")?["items"].as_array().cloned().unwrap_or_default();
            let sets = get("replicasets")?["items"].as_array().map_or(0, Vec::len);
            let of = |app: &str| pods.iter().filter(|pod| pod["metadata"]["labels"]["app"] == app).count();
            let ready = pods.iter().filter(|pod| pod["status"]["containerStatuses"][0]["ready"] == true).count();
            let mut wanted: Vec<&str> = pods.iter().filter_map(|pod| pod["metadata"]["uid"].as_str()).collect();
            wanted.sort_unstable();
            let running = cluster.running_pods();
            let counts = (sets, of("web"), of("db"), ready);
            match counts == (1, load::REPLICAS, 2, load::REPLICAS + 2) && running == wanted {
                true => Ok(()),
                false => Err(format!("{counts:?}, {running:?} run, {wanted:?} are wanted")),
            }
        });
    }
    let files = std::fs::read_dir(locks).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = files.collect();
    files.sort_unstable();
    assert_eq!(files, ["db-0", "db-1"]);
}

#[test]
fn a_storm_over_three_masters_loses_nothing() {
    let seed = seed();
    eprintln!("STORM_SEED={seed}");
    drop(rustls::crypto::ring::default_provider().install_default());
    let cluster = Cluster::prepared();
    cluster.up_machines(&["--control-planes=3"]);
    cluster.import_nginx();
    let locks = cluster.directory().join("locks");
    cluster.apply(&MANIFEST.replace("LOCKS", &locks.display().to_string()));
    cluster.kubectl(&["rollout", "status", "-n", "storm", "deployment/web", "--timeout=60s"]).must();
    cluster.kubectl(&["rollout", "status", "-n", "storm", "statefulset/db", "--timeout=60s"]).must();

    let tally = Tally::default();
    let load = Load::new(&cluster, seed, tally.clone());
    let outcome: Outcome = std::thread::scope(|scope| {
        let loading = scope.spawn(|| load.run());
        // However it ends, who waits for the load does so in vain when it is not told to stop.
        let stop = tally.stop_on_drop();
        faults::storm(&cluster, &tally, &mut StdRng::seed_from_u64(seed));
        drop(stop);
        loading.join().unwrap()
    });
    eprintln!(
        "{} acknowledged, {} refused or not answered, {} gaps in watches",
        tally.acknowledged(),
        tally.refused(),
        outcome.histories.iter().map(|h| h.epochs.len() - 1).sum::<usize>()
    );
    history::check(&outcome);
    pods_are_right(&cluster, &locks);
}
