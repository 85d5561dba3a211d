//! A StatefulSet whose pods have claims of their own: whatever becomes of the pods, they find their data again.

use serde_json::Value;
use tests::{Cluster, eventually};

/// Each pod writes a line into its volume when it starts.
const SET: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: c
        image: nginx
        command: [sh, -c, 'echo $HOSTNAME >> /data/log; exec sleep 100000']
        readinessProbe: {exec: {command: [test, -s, /data/log]}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 100Mi}}}
";

/// Both run, and have run so often over this data.
fn have_started(cluster: &Cluster, times: [usize; 2]) {
    cluster.kubectl(&["rollout", "status", "statefulset/db", "--timeout=120s"]).must();
    for (pod, times) in ["db-0", "db-1"].into_iter().zip(times) {
        let wanted = format!("{pod}\n").repeat(times);
        eventually(&format!("{pod} finds its data"), || {
            let log = cluster.kubectl(&["exec", pod, "--", "cat", "/data/log"]);
            if log.stdout == wanted { Ok(()) } else { Err(format!("{log:?}")) }
        });
    }
}

fn names(cluster: &Cluster, what: &str) -> Result<Vec<String>, String> {
    let list = cluster.get(&[what])?["items"].as_array().cloned().unwrap_or_default();
    Ok(list.iter().filter_map(|object| object["metadata"]["name"].as_str().map(str::to_owned)).collect())
}

fn become_of(cluster: &Cluster, what: &str, wanted: &[&str]) {
    eventually(&format!("{what} are {wanted:?}"), || {
        let names = names(cluster, what)?;
        if names == wanted { Ok(()) } else { Err(format!("{names:?}")) }
    });
}

fn scale(cluster: &Cluster, replicas: &str) {
    cluster.kubectl(&["scale", "statefulset", "db", replicas]).must();
}

#[test]
fn a_stateful_set_finds_its_data_again() {
    let cluster = Cluster::start();
    cluster.apply(SET);
    have_started(&cluster, [1, 1]);
    let claim = cluster.get(&["pvc", "data-db-1"]).unwrap();
    assert_eq!(
        (&claim["status"]["phase"], &claim["spec"]["storageClassName"]),
        (&"Bound".into(), &"local-path".into())
    );

    cluster.kubectl(&["delete", "pod", "db-0"]).must();
    have_started(&cluster, [2, 1]);
    // The claims outlive pods that are not wanted, and the set itself.
    scale(&cluster, "--replicas=1");
    become_of(&cluster, "pods", &["db-0"]);
    scale(&cluster, "--replicas=2");
    have_started(&cluster, [2, 2]);
    cluster.kubectl(&["delete", "statefulset", "db"]).must();
    become_of(&cluster, "pods", &[]);
    become_of(&cluster, "pvc", &["data-db-0", "data-db-1"]);
    cluster.apply(SET);
    have_started(&cluster, [3, 3]);

    // The cluster stops, and comes back with a node more: the data is where it was.
    cluster.oxikube(&["down"]).must();
    cluster.up_machines(&["--nodes=2"]);
    have_started(&cluster, [4, 4]);
    let second = cluster.machine(1);
    become_of(&cluster, "nodes", &["node-1", &second]);

    // Unless they are said to go with what they were made for.
    let policy = r#"{"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}}}"#;
    cluster.kubectl(&["patch", "statefulset", "db", "-p", policy]).must();
    scale(&cluster, "--replicas=1");
    become_of(&cluster, "pvc", &["data-db-0"]);
    eventually("its volume is gone", || match names(&cluster, "pv")?.as_slice() {
        [_] => Ok(()),
        others => Err(format!("{others:?}")),
    });
    let left: Value = cluster.get(&["pvc", "data-db-0"]).unwrap();
    assert_eq!(left["status"]["phase"], "Bound");
}
