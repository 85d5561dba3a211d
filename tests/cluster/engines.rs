//! The same day of a node on each container engine.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::{Cluster, Engine, Registry, eventually};

const MANIFEST: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {greeting: hello from a file}
---
apiVersion: v1
kind: Pod
metadata: {name: worker, labels: {app: worker}}
spec:
  terminationGracePeriodSeconds: 2
  volumes:
  - {name: settings, configMap: {name: settings}}
  - {name: scratch, emptyDir: {}}
  initContainers:
  - name: first
    image: nginx
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'echo made by the first > /scratch/note']
    resources: {limits: {cpu: 500m, memory: 64Mi}}
    volumeMounts: [{name: scratch, mountPath: /scratch}]
  containers:
  - name: main
    image: nginx
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'echo life of $(cat /proc/sys/kernel/random/uuid); cat /settings/greeting /scratch/note; trap \"exit 3\" TERM; while :; do sleep 0.1; done']
    resources: {limits: {cpu: 500m, memory: 64Mi}, requests: {cpu: 100m, memory: 64Mi}}
    volumeMounts:
    - {name: settings, mountPath: /settings}
    - {name: scratch, mountPath: /scratch}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: nginx
        image: nginx
        imagePullPolicy: IfNotPresent
        readinessProbe: {httpGet: {port: 80}, periodSeconds: 1, timeoutSeconds: 10}
        livenessProbe: {exec: {command: ['true']}, periodSeconds: 5, timeoutSeconds: 20}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

fn status(cluster: &Cluster) -> Result<Value, String> {
    Ok(cluster.get(&["pod", "worker"])?["status"]["containerStatuses"][0].clone())
}

/// The service answers, and the pods see what they were given.
fn serves(cluster: &Cluster) {
    cluster.apply(MANIFEST);
    cluster.kubectl(&["rollout", "status", "deployment/web", "--timeout=120s"]).must();
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/worker", "--timeout=120s"]).must();
    let service = cluster.get(&["service", "web"]).unwrap();
    let url = format!("http://{}/", service["spec"]["clusterIP"].as_str().unwrap());
    eventually("the service answers", || {
        let page = cluster.command("curl").args(["-s", "-m", "3", &url]).output().unwrap();
        let page = String::from_utf8_lossy(&page.stdout).into_owned();
        if page.contains("Welcome to nginx") { Ok(()) } else { Err(page) }
    });
    let resolved = cluster.kubectl(&["exec", "deploy/web", "--", "curl", "-s", "-m", "5", "http://web"]).must();
    assert!(resolved.contains("Welcome to nginx"), "{resolved}");
    let log = cluster.kubectl(&["logs", "worker"]).must();
    assert!(log.contains("hello from a file") && log.contains("made by the first"), "{log}");
}

/// Streams in both directions.
fn carries_streams(cluster: &Cluster) {
    let script = "read line; echo $HOSTNAME got $line; echo oops >&2; exit 7";
    let said = cluster.kubectl_with(&["exec", "-i", "worker", "--", "sh", "-c", script], Some("a line\n"));
    assert!(said.stdout.contains("worker got a line") && said.stderr.contains("oops"), "{said:?}");
    assert!(said.stderr.contains("exit code 7"), "{said:?}");
    let counted = cluster.kubectl_with(&["exec", "-i", "worker", "--", "wc", "-c"], Some(&"x".repeat(200_000)));
    assert_eq!(counted.must().trim(), "200000");
    let mut forward = cluster.kubectl_command(&["port-forward", "deploy/web", ":80"]);
    let mut forward = forward.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut line = String::new();
    let mut said = BufReader::new(forward.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    let address = line.split_whitespace().nth(2).unwrap_or_default().to_owned();
    let page = cluster.command("curl").args(["-s", "-m", "10", &format!("http://{address}/")]).output().unwrap();
    forward.kill().unwrap();
    forward.wait().unwrap();
    assert!(String::from_utf8_lossy(&page.stdout).contains("Welcome to nginx"), "{line} {page:?}");
}

/// What is typed reaches a container's own process, and what it says comes back.
fn attaches(cluster: &Cluster) {
    let options = ["--image=nginx", "--image-pull-policy=IfNotPresent", "--restart=Never", "-i", "--quiet", "--rm"];
    let script = "while read line; do echo heard $line; done; echo end of input";
    let run = [&["run", "listener"], &options[..], &["--command", "--", "sh", "-c", script]].concat();
    let said = cluster.kubectl_with(&run, Some("one\ntwo\n")).must();
    assert_eq!(said.lines().take(3).collect::<Vec<_>>(), ["heard one", "heard two", "end of input"]);
}

/// An image of a registry is pulled for a pod, by `oxikube image pull`, and one that is not there is said to be missing.
fn pulls(cluster: &Cluster, engine: Engine) {
    let registry = Registry::start(cluster);
    let image = registry.push_nginx("pulled");
    cluster.kubectl(&["run", "pulled", "--image", &image, "--image-pull-policy=Always"]).must();
    let missing = image.replace(":1", ":2");
    cluster.kubectl(&["run", "missing", "--image", &missing]).must();
    cluster.kubectl(&["wait", "--for=condition=Ready", "pod/pulled", "--timeout=60s"]).must();
    eventually("the cause is told", || {
        let events = cluster.kubectl(&["events", "--for=pod/missing"]).must();
        let told = events.contains("ErrImagePull") && events.contains("not found");
        if told { Ok(()) } else { Err(events) }
    });
    cluster.kubectl(&["delete", "pod", "pulled", "missing", "--grace-period=1"]).must();
    if engine != Engine::Offered {
        let other = registry.push_nginx("other");
        cluster.oxikube(&["image", "pull", &other]).must();
        let list = cluster.oxikube(&["image", "list"]).must();
        assert!(list.contains(&other), "{list}");
        cluster.oxikube(&["image", "remove", &other]).must();
        let list = cluster.oxikube(&["image", "list"]).must();
        assert!(!list.contains(&other), "{list}");
    }
}

/// Follows a log until it has said something.
fn follows_logs(cluster: &Cluster) {
    let mut follow = cluster.kubectl_command(&["logs", "-f", "--tail=0", "worker"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    // Written by another process into the container's own output.
    let heard = std::thread::scope(|scope| {
        let heard = scope.spawn(move || lines.next().and_then(Result::ok));
        eventually("the line is heard", || {
            cluster.kubectl(&["exec", "worker", "--", "sh", "-c", "echo later > /proc/1/fd/1"]).must();
            if heard.is_finished() { Ok(()) } else { Err("nothing yet".to_owned()) }
        });
        heard.join().unwrap()
    });
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert_eq!(heard.as_deref(), Some("later"));
}

/// The limits of the manifest, in the kernel's own words.
fn limits_hold(cluster: &Cluster) {
    let root = Path::new("/sys/fs/cgroup/memory");
    let root = if root.exists() { root } else { Path::new("/sys/fs/cgroup") };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap().flatten() {
        // An engine beside the cluster has a name that begins with the cluster's.
        if entry.file_name().to_string_lossy().starts_with(cluster.name()) {
            limits_below(&entry.path(), &mut found);
        }
    }
    // The pod's own, and its container's.
    assert!(found.iter().filter(|limit| *limit == "67108864").count() >= 2, "{found:?}");
}

fn limits_below(directory: &Path, found: &mut Vec<String>) {
    for name in ["memory.limit_in_bytes", "memory.max"] {
        let text = std::fs::read_to_string(directory.join(name)).unwrap_or_default();
        found.extend((!text.is_empty()).then(|| text.trim().to_owned()));
    }
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            limits_below(&entry.path(), found);
        }
    }
}

/// An end is seen when it happens: a list of everything is made every 30 seconds only.
fn restarts_at_once(cluster: &Cluster) {
    let first = cluster.kubectl(&["logs", "worker"]).must();
    let begin = Instant::now();
    cluster.kubectl(&["exec", "worker", "--", "sh", "-c", "kill -TERM 1"]).must();
    eventually("the container is restarted", || {
        let status = status(cluster)?;
        if status["restartCount"] == 1 && status["ready"] == true { Ok(()) } else { Err(status.to_string()) }
    });
    assert!(begin.elapsed() < Duration::from_secs(15), "after {:?}", begin.elapsed());
    let status = status(cluster).unwrap();
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 3, "{status}");
    assert_eq!(cluster.kubectl(&["logs", "--previous", "worker"]).must().lines().next(), first.lines().next());
    let second = cluster.kubectl(&["logs", "worker"]).must();
    assert_ne!(second.lines().next(), first.lines().next());
}

/// The server goes and comes: no process is disturbed.
fn is_adopted(cluster: &Cluster) {
    let process = || cluster.kubectl(&["exec", "worker", "--", "stat", "-c", "%Y", "/proc/1"]).must();
    let before = (process(), status(cluster).unwrap()["containerID"].clone());
    cluster.kill_server();
    cluster.up(&[]);
    cluster.kubectl(&["wait", "pod/worker", "--for=condition=Ready", "--timeout=120s"]).must();
    let after = status(cluster).unwrap();
    assert_eq!((process(), after["containerID"].clone()), before);
    assert_eq!(after["restartCount"], 1);
}

/// Nothing that carries the instance's name is left.
fn leaves_nothing(cluster: &Cluster, engine: Engine) {
    cluster.oxikube(&["down", "--purge"]).must();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let own = format!("{}/", cluster.directory().display());
    assert!(!mounts.contains(&own), "{mounts}");
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let left = hierarchy.path().join(cluster.name());
        assert!(!left.exists(), "{} is left", left.display());
    }
    if engine == Engine::Offered {
        // Its network is its own, and goes when it goes.
        return;
    }
    let links = cluster.command("ip").args(["-br", "link"]).output().unwrap();
    let links = String::from_utf8_lossy(&links.stdout).into_owned();
    assert!(links.lines().all(|line| ["lo", "up0", "up1"].iter().any(|own| line.starts_with(own))), "{links}");
}

fn a_day_on(engine: Engine) {
    let cluster = Cluster::start_on(engine);
    serves(&cluster);
    carries_streams(&cluster);
    attaches(&cluster);
    follows_logs(&cluster);
    pulls(&cluster, engine);
    limits_hold(&cluster);
    restarts_at_once(&cluster);
    is_adopted(&cluster);
    leaves_nothing(&cluster, engine);
}

#[test]
fn a_day_on_the_native_engine() {
    a_day_on(Engine::Native);
}

#[test]
fn a_day_on_containerd() {
    a_day_on(Engine::Containerd);
}

#[test]
fn a_day_on_docker() {
    a_day_on(Engine::Docker);
}

#[test]
fn a_day_on_the_native_engine_behind_a_socket() {
    a_day_on(Engine::Offered);
}
