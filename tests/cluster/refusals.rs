//! What cannot work is refused in one sentence.

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
