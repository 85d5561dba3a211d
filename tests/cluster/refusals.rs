//! What cannot work is refused in one sentence.

use std::process::Command;

use tests::Cluster;

#[test]
fn a_taken_port() {
    let first = Cluster::start();
    let other = first.directory().with_extension("second");
    let directory = format!("--data-dir={}", other.display());
    let error = first.oxikube(&["up", &directory, "--timeout=20s"]).must_fail();
    assert!(error.contains("port 6443 is taken by another program"), "{error}");
    assert_eq!(error.trim().lines().count(), 1, "{error}");
    std::fs::remove_dir_all(other).unwrap();
}

#[test]
fn an_instance_that_runs_over_another_data_directory() {
    let first = Cluster::start();
    let other = first.directory().with_extension("second");
    let (directory, name) = (format!("--data-dir={}", other.display()), format!("--name={}", first.name()));
    let ports = ["--api-port=7443", "--kubelet-port=11250"];
    let error = first.oxikube(&["up", &directory, &name, ports[0], ports[1], "--timeout=20s"]).must_fail();
    assert!(error.contains("already runs on this machine over another data directory"), "{error}");
    std::fs::remove_dir_all(other).unwrap();
}

#[test]
fn a_data_directory_that_is_a_file() {
    let cluster = Cluster::prepared();
    std::fs::write(cluster.directory(), "x").unwrap();
    let error = cluster.oxikube(&["up", "--timeout=20s"]).must_fail();
    assert!(error.contains("cannot use"), "{error}");
    assert_eq!(error.trim().lines().count(), 1, "{error}");
    std::fs::remove_file(cluster.directory()).unwrap();
}

#[test]
fn a_missing_capability() {
    let cluster = Cluster::prepared();
    let mut up = cluster.command("setpriv");
    up.args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"]).arg(tests::binary());
    let output = up.args(["up", "--timeout=20s", "--data-dir"]).arg(cluster.directory()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("a node needs CAP_NET_ADMIN"), "{error}");
    assert!(error.contains("run it as root"), "{error}");
}

#[test]
fn a_wrong_kubeconfig() {
    let cluster = Cluster::prepared();
    std::fs::create_dir_all(cluster.directory()).unwrap();
    let file = cluster.directory().join("wrong");
    let with = format!("--kubeconfig={}", file.display());
    let absent = cluster.oxikube(&["scheduler", &with]).must_fail();
    assert!(absent.contains("No such file") && absent.contains("--kubeconfig"), "{absent}");
    std::fs::write(&file, "nonsense").unwrap();
    let nonsense = cluster.oxikube(&["scheduler", &with]).must_fail();
    assert!(nonsense.contains("cannot be used: "), "{nonsense}");
    assert_eq!(nonsense.trim().lines().count(), 1, "{nonsense}");
}

/// A small disk, as long as it is held.
struct Disk<'a>(&'a std::path::Path);

impl<'a> Disk<'a> {
    fn mount(path: &'a std::path::Path, size: &str) -> Self {
        std::fs::create_dir_all(path).unwrap();
        let size = format!("size={size}");
        assert!(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(path).status().unwrap().success());
        Self(path)
    }

    fn fill(&self) -> std::path::PathBuf {
        let file = self.0.join("filler");
        // It ends where the disk does.
        let error = std::io::copy(&mut std::io::repeat(1), &mut std::fs::File::create(&file).unwrap()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        file
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.0).status());
    }
}

#[test]
fn a_full_disk_at_the_start() {
    let cluster = Cluster::prepared();
    let disk = Disk::mount(cluster.directory(), "1m");
    let filler = disk.fill();
    let error = cluster.oxikube(&["up", "--timeout=20s"]).must_fail();
    assert!(error.to_lowercase().contains("no s") && error.contains("make room"), "{error}");
    assert_eq!(error.trim().lines().count(), 1, "{error}");
    std::fs::remove_file(filler).unwrap();
    cluster.oxikube(&["down", "--purge"]).must();
}

#[test]
fn a_disk_that_fills_up_and_has_room_again() {
    let cluster = Cluster::prepared();
    let disk = Disk::mount(cluster.directory(), "16m");
    cluster.up(&[]);
    cluster.kubectl(&["create", "configmap", "before"]).must();
    let filler = disk.fill();
    let value = format!("--from-literal=k={}", "x".repeat(100_000));
    let error = cluster.kubectl(&["create", "configmap", "refused", &value]).must_fail();
    assert!(error.to_lowercase().contains("no space left"), "{error}");
    let health = cluster.kubectl(&["get", "--raw", "/readyz?verbose"]).must_fail();
    assert!(health.contains("[-]etcd failed"), "{health}");
    cluster.get(&["configmap", "before"]).unwrap();
    std::fs::remove_file(filler).unwrap();
    tests::eventually("writes are taken again", || {
        let written = cluster.kubectl(&["create", "configmap", "after", &value]);
        if written.ok { Ok(()) } else { Err(written.stderr) }
    });
    cluster.kubectl(&["get", "--raw", "/readyz"]).must();
    cluster.kill_server();
    cluster.up(&[]);
    for name in ["before", "after"] {
        cluster.get(&["configmap", name]).unwrap();
    }
    // The disk is its owner's: it stays mounted.
    cluster.oxikube(&["down"]).must();
    cluster.up(&[]);
    cluster.get(&["configmap", "after"]).unwrap();
    cluster.oxikube(&["down"]).must();
}

#[test]
fn an_image_that_is_not_there() {
    let cluster = Cluster::start();
    let image = "127.0.0.1:1/nonsense:1";
    cluster.kubectl(&["run", "bad", "--image", image]).must();
    tests::eventually("the pod says why", || {
        let pod = cluster.get(&["pod", "bad"])?;
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        match waiting["reason"].as_str() {
            Some("ErrImagePull" | "ImagePullBackOff")
                if waiting["message"].as_str().is_some_and(|m| m.contains(image)) =>
            {
                Ok(())
            }
            _ => Err(waiting.to_string()),
        }
    });
    let logs = cluster.kubectl(&["logs", "bad"]).must_fail();
    assert!(logs.contains("container \"bad\" in pod \"bad\" is waiting to start: "), "{logs}");
}
