//! The native engine over real containers: needs root.

#![allow(clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use cri::v1::{ContainerEventType, ContainerState};
use cri::{ImageService, RuntimeService, Streaming};
use futures::StreamExt;
use support::{Node, container, sandbox};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn a_container_lives_and_dies() {
    Node::run(|node| async move {
        let engine = node.engine().await;
        let pod = engine.run_pod_sandbox(sandbox(&node, "a")).await.unwrap().pod_sandbox_id;
        let status = engine.pod_sandbox_status(&pod).await.unwrap().status.unwrap();
        assert_eq!(status.network.unwrap().ip, "10.99.3.2");
        let script =
            "echo out; echo err >&2; echo $GREETING; hostname; trap 'exit 7' TERM; while :; do sleep 0.05; done";
        let id = engine.create_container(container(&node, &pod, "main", &["sh", "-c", script])).await.unwrap();
        let mut events = engine.container_events().await.unwrap();
        let start = Instant::now();
        engine.start_container(&id).await.unwrap();
        println!("started in {:?}", start.elapsed());
        node.log_has("main.log", "pod-a").await;
        let log = node.log("main.log");
        for line in ["stdout F out", "stderr F err", "stdout F hello", "stdout F pod-a"] {
            assert!(log.contains(line), "{line} in {log}");
        }
        let start = Instant::now();
        let done = engine
            .exec_sync(&id, vec!["sh".into(), "-c".into(), "echo hi; echo no >&2; exit 3".into()], 10)
            .await
            .unwrap();
        println!("exec in {:?}", start.elapsed());
        assert_eq!((done.stdout.as_slice(), done.stderr.as_slice(), done.exit_code), (&b"hi\n"[..], &b"no\n"[..], 3));
        let late = engine.exec_sync(&id, vec!["sleep".into(), "60".into()], 1).await;
        assert!(matches!(late, Err(cri::CriError::DeadlineExceeded(_))), "{late:?}");
        let stats = engine.container_stats(&id).await.unwrap();
        assert!(stats.memory.unwrap().working_set_bytes.unwrap().value > 0);
        engine.stop_container(&id, 10).await.unwrap();
        let status = engine.container_status(&id).await.unwrap().status.unwrap();
        assert_eq!(
            (status.state, status.exit_code, status.reason.as_str()),
            (ContainerState::ContainerExited as i32, 7, "Error")
        );
        let started = events.next().await.unwrap().unwrap();
        assert_eq!(started.container_event_type, ContainerEventType::ContainerStartedEvent as i32);
        let stopped = events.next().await.unwrap().unwrap();
        assert_eq!(
            (stopped.container_event_type, stopped.container_id),
            (ContainerEventType::ContainerStoppedEvent as i32, id.clone())
        );
        engine.remove_container(&id).await.unwrap();
        engine.stop_pod_sandbox(&pod).await.unwrap();
        engine.remove_pod_sandbox(&pod).await.unwrap();
        engine.remove_pod_sandbox(&pod).await.unwrap();
        assert!(std::fs::read_dir(node.dir().join("pods")).unwrap().next().is_none());
    });
}

#[test]
fn a_restarted_engine_adopts_what_runs() {
    Node::run(|node| async move {
        let engine = node.engine().await;
        let pod = engine.run_pod_sandbox(sandbox(&node, "a")).await.unwrap().pod_sandbox_id;
        let long = engine.create_container(container(&node, &pod, "long", &["sleep", "1000"])).await.unwrap();
        let short = engine
            .create_container(container(
                &node,
                &pod,
                "short",
                &["sh", "-c", "while [ ! -e /stop ]; do sleep 0.02; done; exit 5"],
            ))
            .await
            .unwrap();
        for id in [&long, &short] {
            engine.start_container(id).await.unwrap();
        }
        engine.close().await;
        // It ends while nobody is there to see it.
        let flag = node.dir().join("pods").join(&pod).join("containers").join(&short);
        std::fs::write(flag.join("rootfs/stop"), "").unwrap();
        node.until("the exit is on disk", || flag.join("exit.json").exists()).await;
        let engine = node.engine().await;
        let status = engine.container_status(&short).await.unwrap().status.unwrap();
        assert_eq!((status.state, status.exit_code), (ContainerState::ContainerExited as i32, 5));
        let status = engine.container_status(&long).await.unwrap().status.unwrap();
        assert_eq!(status.state, ContainerState::ContainerRunning as i32);
        assert_eq!(engine.exec_sync(&long, vec!["true".into()], 10).await.unwrap().exit_code, 0);
        engine.stop_container(&long, 0).await.unwrap();
        assert_eq!(engine.container_status(&long).await.unwrap().status.unwrap().exit_code, 137);
    });
}

#[test]
fn what_a_crash_left_half_made_goes() {
    Node::run(|node| async move {
        let engine = node.engine().await;
        let pod = engine.run_pod_sandbox(sandbox(&node, "a")).await.unwrap().pod_sandbox_id;
        let id = engine.create_container(container(&node, &pod, "main", &["true"])).await.unwrap();
        engine.close().await;
        let pods = node.dir().join("pods");
        std::fs::remove_file(pods.join(&pod).join("containers").join(&id).join("container.json")).unwrap();
        std::fs::create_dir_all(pods.join("half/shm")).unwrap();
        sys::mount::tmpfs(&pods.join("half/shm"), 0o755, None).unwrap();
        let engine = node.engine().await;
        assert!(!pods.join("half").exists());
        assert!(engine.list_containers(None).await.unwrap().is_empty());
        engine.remove_pod_sandbox(&pod).await.unwrap();
        assert!(std::fs::read_dir(&pods).unwrap().next().is_none());
    });
}

#[test]
fn sessions_carry_streams() {
    Node::run(|node| async move {
        let engine = node.engine().await;
        let pod = engine.run_pod_sandbox(sandbox(&node, "a")).await.unwrap().pod_sandbox_id;
        let mut request = container(&node, &pod, "cat", &["cat"]);
        let config = request.config.as_mut().unwrap();
        (config.stdin, config.stdin_once) = (true, true);
        let id = engine.create_container(request).await.unwrap();
        engine.start_container(&id).await.unwrap();
        let stdio = cri::StdioRequest { stdin: true, stdout: true, stderr: true, tty: false };
        let mut session = engine.exec(&id, vec!["sh".into(), "-c".into(), "cat; exit 4".into()], stdio).await.unwrap();
        let mut stdin = session.stdin.take().unwrap();
        stdin.write_all(b"over and back").await.unwrap();
        drop(stdin);
        let mut text = String::new();
        session.stdout.take().unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), session.exit.await.unwrap()), ("over and back", 4));
        let tty = cri::StdioRequest { stdin: true, stdout: true, stderr: false, tty: true };
        let mut session =
            engine.exec(&id, vec!["sh".into(), "-c".into(), "read x; stty size; exit 6".into()], tty).await.unwrap();
        session.resize.as_ref().unwrap().send(cri::TerminalSize { width: 101, height: 33 }).await.unwrap();
        tokio::task::yield_now().await;
        session.stdin.as_mut().unwrap().write_all(b"go\n").await.unwrap();
        let mut text = String::new();
        session.stdout.take().unwrap().read_to_string(&mut text).await.unwrap();
        assert!(text.contains("33 101"), "{text:?}");
        assert_eq!(session.exit.await.unwrap(), 6);
        let mut session = engine.attach(&id, stdio).await.unwrap();
        let mut stdin = session.stdin.take().unwrap();
        stdin.write_all(b"attached\n").await.unwrap();
        drop(stdin);
        let mut text = String::new();
        session.stdout.take().unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), session.exit.await.unwrap()), ("attached\n", 0));
    });
}

#[test]
fn a_container_that_cannot_start_says_why() {
    Node::run(|node| async move {
        let engine = node.engine().await;
        let pod = engine.run_pod_sandbox(sandbox(&node, "a")).await.unwrap().pod_sandbox_id;
        let id = engine.create_container(container(&node, &pod, "main", &["no-such-program"])).await.unwrap();
        let error = engine.start_container(&id).await.unwrap_err().to_string();
        assert!(error.contains("no-such-program") && error.contains("not found"), "{error}");
        let status = engine.container_status(&id).await.unwrap().status.unwrap();
        assert_eq!((status.exit_code, status.reason.as_str()), (128, "StartError"));
        assert!(engine.create_container(container_of(&node, &pod, "nowhere")).await.is_err());
        assert!(
            engine
                .image_status(cri::v1::ImageSpec { image: "nowhere".into(), ..Default::default() })
                .await
                .unwrap()
                .is_none()
        );
        tokio::time::timeout(Duration::from_secs(10), engine.remove_pod_sandbox(&pod)).await.unwrap().unwrap();
    });
}

#[test]
fn who_a_container_is_and_what_it_may() {
    Node::run(|node| async move {
        let engine = node.engine().await;
        let pod = engine.run_pod_sandbox(sandbox(&node, "a")).await.unwrap().pod_sandbox_id;
        let script = "id; grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; echo keys: $(cat /proc/keys | grep -c .); echo x > /x; \
                      echo x > /proc/sys/vm/swappiness; mount -t tmpfs t /tmp; echo by path > /proc/self/fd/1; cat /proc/self/oom_score_adj";
        let mut request = container(&node, &pod, "main", &["sh", "-c", &format!("{script}; exec sleep 1000")]);
        {
            let linux = request.config.as_mut().unwrap().linux.as_mut().unwrap();
            let security = linux.security_context.as_mut().unwrap();
            security.run_as_username = "web".into();
            security.supplemental_groups = vec![2000];
            security.readonly_rootfs = true;
            security.no_new_privs = true;
            security.capabilities =
                Some(cri::v1::Capability { drop_capabilities: vec!["ALL".into()], ..Default::default() });
        }
        let id = engine.create_container(request).await.unwrap();
        engine.start_container(&id).await.unwrap();
        node.log_has("main.log", "F 900").await;
        let log = node.log("main.log");
        let expected = [
            "uid=33(web) gid=33(web) groups=33(web),2000",
            "CapBnd:\t0000000000000000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
            "keys: 0",
            "can't create /x: Read-only file system",
            "swappiness: ",
            "mount: permission denied",
            "F by path",
        ];
        for line in expected {
            assert!(log.contains(line), "{line} in {log}");
        }
    });
}

#[test]
fn memory_that_runs_out_is_told() {
    Node::run(|node| async move {
        let engine = node.engine().await;
        let pod = engine.run_pod_sandbox(sandbox(&node, "a")).await.unwrap().pod_sandbox_id;
        // The shell holds everything it reads.
        let request = container(&node, &pod, "main", &["sh", "-c", "x=$(dd if=/dev/zero bs=1M count=256 | cat -v)"]);
        let id = engine.create_container(request).await.unwrap();
        let mut events = engine.container_events().await.unwrap();
        engine.start_container(&id).await.unwrap();
        while events.next().await.unwrap().unwrap().container_event_type
            != ContainerEventType::ContainerStoppedEvent as i32
        {}
        let status = engine.container_status(&id).await.unwrap().status.unwrap();
        assert_eq!(status.reason, "OOMKilled", "{status:?}");
    });
}

#[test]
fn a_pod_may_share_its_processes() {
    Node::run(|node| async move {
        let engine = node.engine().await;
        let mut request = sandbox(&node, "a");
        let linux = request.config.as_mut().unwrap().linux.as_mut().unwrap();
        linux.security_context.as_mut().unwrap().namespace_options.as_mut().unwrap().pid = 0;
        let pod = engine.run_pod_sandbox(request).await.unwrap().pod_sandbox_id;
        let mut ids = Vec::new();
        for name in ["one", "two"] {
            let mut request = container(&node, &pod, name, &["sleep", "1000"]);
            let linux = request.config.as_mut().unwrap().linux.as_mut().unwrap();
            linux.security_context.as_mut().unwrap().namespace_options.as_mut().unwrap().pid = 0;
            ids.push(engine.create_container(request).await.unwrap());
            engine.start_container(&ids[ids.len() - 1]).await.unwrap();
        }
        let script = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '";
        let seen = engine
            .exec_sync(
                &ids[0],
                vec![
                    "busybox".into(),
                    "sh".into(),
                    "-c".into(),
                    format!("busybox {script}").replace("| tr", "| busybox tr"),
                ],
                10,
            )
            .await
            .unwrap();
        let text = String::from_utf8(seen.stdout).unwrap();
        assert_eq!(text.matches("sleep 1000").count(), 2, "{text}");
        assert!(text.contains("shim pause"), "{text}");
        // What it leaves behind goes with it, though the namespace stays.
        let script = "sleep 2000 >/dev/null 2>&1 &";
        engine.exec_sync(&ids[1], vec!["sh".into(), "-c".into(), script.into()], 10).await.unwrap();
        engine.stop_container(&ids[1], 0).await.unwrap();
        let group = format!("/{}/kubepods/poda/{}", node.instance(), ids[1]);
        node.until("its processes are gone", || sys::cgroup::Cgroups::detect().unwrap().processes(&group).is_empty())
            .await;
        assert_eq!(
            engine.container_status(&ids[0]).await.unwrap().status.unwrap().state,
            ContainerState::ContainerRunning as i32
        );
    });
}

#[test]
fn a_forwarded_port_reaches_the_pod() {
    Node::run(|node| async move {
        let engine = node.engine().await;
        let pod = engine.run_pod_sandbox(sandbox(&node, "a")).await.unwrap().pod_sandbox_id;
        let id = engine
            .create_container(container(&node, &pod, "main", &["nc", "-ll", "-p", "80", "-e", "cat"]))
            .await
            .unwrap();
        engine.start_container(&id).await.unwrap();
        assert!(engine.port_forward(&pod, 81).await.is_err());
        let mut stream = loop {
            match engine.port_forward(&pod, 80).await {
                Ok(stream) => break stream,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        stream.write_all(b"through\n").await.unwrap();
        let mut buffer = [0; 8];
        stream.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"through\n");
    });
}

#[test]
fn a_rotated_log_is_opened_anew() {
    Node::run(|node| async move {
        let engine = node.engine().await;
        let pod = engine.run_pod_sandbox(sandbox(&node, "a")).await.unwrap().pod_sandbox_id;
        let id = engine
            .create_container(container(&node, &pod, "main", &["sh", "-c", "while :; do echo tick; sleep 0.02; done"]))
            .await
            .unwrap();
        engine.start_container(&id).await.unwrap();
        node.log_has("main.log", "tick").await;
        let log = node.dir().join("log");
        std::fs::rename(log.join("main.log"), log.join("main.log.1")).unwrap();
        engine.reopen_container_log(&id).await.unwrap();
        node.log_has("main.log", "tick").await;
    });
}

#[test]
fn a_shim_that_is_killed_takes_its_containers_along() {
    Node::run(|node| async move {
        let engine = node.engine().await;
        let pod = engine.run_pod_sandbox(sandbox(&node, "a")).await.unwrap().pod_sandbox_id;
        let id = engine.create_container(container(&node, &pod, "main", &["sleep", "1000"])).await.unwrap();
        engine.start_container(&id).await.unwrap();
        let mut events = engine.container_events().await.unwrap();
        let cgroups = sys::cgroup::Cgroups::detect().unwrap();
        cgroups.kill(&format!("/{}/shims", node.instance())).unwrap();
        let event = events.next().await.unwrap().unwrap();
        assert_eq!(event.container_event_type, ContainerEventType::ContainerStoppedEvent as i32);
        let status = engine.container_status(&id).await.unwrap().status.unwrap();
        assert_eq!((status.state, status.exit_code), (ContainerState::ContainerExited as i32, 255));
    });
}

#[test]
fn a_privileged_container_shares_what_the_host_has() {
    Node::run(|node| async move {
        let engine = node.engine().await;
        let everything = cri::v1::NamespaceOption { network: 2, pid: 2, ipc: 2, ..Default::default() };
        let mut request = sandbox(&node, "a");
        let linux = request.config.as_mut().unwrap().linux.as_mut().unwrap();
        linux.security_context.as_mut().unwrap().namespace_options = Some(everything.clone());
        let pod = engine.run_pod_sandbox(request).await.unwrap().pod_sandbox_id;
        assert_eq!(engine.pod_sandbox_status(&pod).await.unwrap().status.unwrap().network.unwrap().ip, "");
        let source = node.dir().join("made/on/demand");
        let script = "mount -t tmpfs t /tmp && echo mounted; ls -d /dev/vda /dev/sda /dev/kmsg; echo pid $$; ls /host; echo x > /ro/x; sleep 1000 & exec sleep 1000";
        let mut request = container(&node, &pod, "main", &["sh", "-c", script]);
        let config = request.config.as_mut().unwrap();
        let security = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
        (security.privileged, security.namespace_options) = (true, Some(everything));
        let mount = |to: &str, from: &std::path::Path, readonly, propagation| cri::v1::Mount {
            container_path: to.into(),
            host_path: from.display().to_string(),
            readonly,
            propagation,
            ..Default::default()
        };
        config.mounts = vec![mount("/host", node.dir(), false, 1), mount("/ro", &source, true, 0)];
        let id = engine.create_container(request).await.unwrap();
        assert!(source.is_dir());
        engine.start_container(&id).await.unwrap();
        node.log_has("main.log", "can't create /ro/x: Read-only file system").await;
        let log = node.log("main.log");
        assert!(log.contains("mounted") && log.contains("/dev/kmsg") && log.contains("F pods"), "{log}");
        assert!(!log.contains("F pid 1\n"), "{log}");
        engine.stop_container(&id, 0).await.unwrap();
        engine.remove_container(&id).await.unwrap();
    });
}

/// Debian's registry, on a free port.
struct RegistryProcess(std::process::Child);

impl Drop for RegistryProcess {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn images_are_pulled_listed_and_removed() {
    if !std::path::Path::new("/usr/bin/docker-registry").exists() {
        println!("skipped: docker-registry is not installed");
        return;
    }
    Node::run(|node| async move {
        sys::netlink::Netlink::here().unwrap().up("lo").await.unwrap();
        // In a network namespace of the test's own every port is free.
        let config = node.dir().join("registry.yml");
        let storage = node.dir().join("registry");
        let text = format!(
            "version: 0.1\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: 127.0.0.1:5000 }}\n",
            storage.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = std::process::Command::new("docker-registry");
        command.arg("serve").arg(&config).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let _registry = RegistryProcess(command.spawn().unwrap());
        node.until("the registry listens", || std::net::TcpStream::connect("127.0.0.1:5000").is_ok()).await;
        let layers = support::push(&node, "127.0.0.1:5000/a/b:1").await;
        let engine = node.engine().await;
        let pull = |name: &str| cri::v1::PullImageRequest {
            image: Some(cri::v1::ImageSpec { image: name.into(), ..Default::default() }),
            ..Default::default()
        };
        let id = engine.pull_image(pull("127.0.0.1:5000/a/b:1")).await.unwrap();
        let spec = cri::v1::ImageSpec { image: "127.0.0.1:5000/a/b:1".into(), ..Default::default() };
        let image = engine.image_status(spec.clone()).await.unwrap().unwrap();
        assert_eq!(image.id, id);
        assert!(image.repo_digests[0].starts_with("127.0.0.1:5000/a/b@sha256:"), "{image:?}");
        let lasting = engine.list_images(None).await.unwrap().into_iter().filter(|one| one.id != id);
        let lasting: Vec<bool> = lasting.map(|one| one.pinned).collect();
        assert!(!image.pinned && lasting == [true], "only what was imported stays when room is needed: {lasting:?}");
        let by_digest = cri::v1::ImageSpec { image: image.repo_digests[0].clone(), ..Default::default() };
        assert_eq!(engine.image_status(by_digest).await.unwrap().unwrap().id, id);
        let pod = engine.run_pod_sandbox(sandbox(&node, "a")).await.unwrap().pod_sandbox_id;
        let mut request = container(&node, &pod, "main", &["cat", "/zstd", "/gzip"]);
        request.config.as_mut().unwrap().image = Some(spec.clone());
        let container = engine.create_container(request).await.unwrap();
        engine.start_container(&container).await.unwrap();
        node.log_has("main.log", "F gzip").await;
        assert!(node.log("main.log").contains("F zstd"));
        engine.remove_pod_sandbox(&pod).await.unwrap();
        let unpacked = || std::fs::read_dir(node.dir().join("images/l")).unwrap().count();
        let before = unpacked();
        engine.remove_image(spec.clone()).await.unwrap();
        assert_eq!(before - unpacked(), layers - 1, "the base layer is still another image's");
        assert!(engine.image_status(spec).await.unwrap().is_none());
        let gone = engine.pull_image(pull("127.0.0.1:5000/a/b:2")).await;
        assert!(matches!(gone, Err(cri::CriError::NotFound(_))), "{gone:?}");
        assert!(matches!(engine.pull_image(pull("127.0.0.1:1/x")).await, Err(cri::CriError::Unavailable(_))));
    });
}

fn container_of(node: &Node, pod: &str, image: &str) -> cri::v1::CreateContainerRequest {
    let mut request = container(node, pod, "main", &["true"]);
    request.config.as_mut().unwrap().image = Some(cri::v1::ImageSpec { image: image.into(), ..Default::default() });
    request
}
