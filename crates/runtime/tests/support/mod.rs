//! A node of its own for each test: data directory, instance, network namespace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cni::PodNetwork;
use cri::v1;
use nix::sched::{CloneFlags, unshare};
use podnet::PodNet;
use runtime::native::{Config, Native};

pub const IMAGE: &str = "example.test/busybox:1";

pub struct Node {
    dir: tempfile::TempDir,
    instance: String,
}

/// Takes away what a failed test left.
struct CleanUp(PathBuf, String);

impl Drop for CleanUp {
    fn drop(&mut self) {
        let cgroups = sys::cgroup::Cgroups::detect().unwrap();
        let root = format!("/{}", self.1);
        for _ in 0..100 {
            cgroups.kill(&root).unwrap();
            if cgroups.remove(&root).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        sys::mount::unmount_below(&self.0).unwrap();
    }
}

impl Node {
    pub fn run<F: Future<Output = ()>>(test: impl FnOnce(Arc<Node>) -> F + Send + 'static) {
        let done = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let instance = format!("rt-{:08x}", rand::random::<u32>());
            let _clean_up = CleanUp(dir.path().to_owned(), instance.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let node = Arc::new(Node { dir, instance });
                node.make_image();
                test(node.clone()).await;
                let engine = node.engine().await;
                engine.purge().await.unwrap();
                let left = sys::mount::below(node.dir.path()).unwrap();
                assert!(left.is_empty(), "{left:?}");
                assert!(!sys::cgroup::Cgroups::detect().unwrap().exists(&format!("/{}", node.instance)));
            });
        });
        done.join().unwrap();
    }

    pub fn instance(&self) -> &str {
        &self.instance
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub async fn engine(&self) -> Native {
        let network = PodNet::open(podnet::Config {
            instance: self.instance.clone(),
            dir: self.dir().join("podnet"),
            cluster_cidr: "10.99.0.0/16".parse().unwrap(),
            mtu: None,
        });
        let network = Arc::new(network.unwrap());
        PodNetwork::set_pod_cidr(&*network, "10.99.3.0/24").await.unwrap();
        let config = Config {
            dir: self.dir().to_owned(),
            instance: self.instance.clone(),
            program: env!("CARGO_BIN_EXE_runtime-test-shim").into(),
            network,
            registries: Vec::new(),
        };
        let engine = Native::open(config).await.unwrap();
        if !self.dir().join("imported").exists() {
            engine.import(&self.dir().join("image.tar")).await.unwrap();
            std::fs::write(self.dir().join("imported"), "").unwrap();
        }
        engine
    }

    /// What `docker save` would write of an image with nothing but busybox.
    fn make_image(&self) {
        let mut layer = tar::Builder::new(Vec::new());
        let mut add = |path: &str, mode: u32, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            header.set_entry_type(if path.ends_with('/') {
                tar::EntryType::Directory
            } else {
                tar::EntryType::Regular
            });
            layer.append_data(&mut header, path, content).unwrap();
        };
        for path in ["bin/", "etc/", "dev/", "proc/", "sys/"] {
            add(path, 0o755, b"");
        }
        add("tmp/", 0o1777, b"");
        add("bin/busybox", 0o755, &std::fs::read("/bin/busybox").unwrap());
        add("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/:/bin/sh\n");
        add("etc/group", 0o644, b"root:x:0:\nweb:x:33:\n");
        for name in
            ["sh", "cat", "sleep", "hostname", "stty", "id", "true", "ls", "nc", "head", "dd", "mount", "grep", "tr"]
        {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            layer.append_link(&mut header, format!("bin/{name}"), "busybox").unwrap();
        }
        let layer = layer.into_inner().unwrap();
        let digest = format!("sha256:{}", hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&layer)));
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux",
            "config": { "Env": ["PATH=/bin", "GREETING=hello"], "Cmd": ["sh"] },
            "rootfs": { "type": "layers", "diff_ids": [digest] },
        });
        let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": [IMAGE], "Layers": ["a/layer.tar"] }]);
        let mut archive = tar::Builder::new(std::fs::File::create(self.dir().join("image.tar")).unwrap());
        for (path, content) in [
            ("config.json", config.to_string().into_bytes()),
            ("a/layer.tar", layer),
            ("manifest.json", manifest.to_string().into_bytes()),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, path, content.as_slice()).unwrap();
        }
        archive.finish().unwrap();
    }

    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir().join("log").join(name)).unwrap_or_default()
    }

    pub async fn log_has(&self, name: &str, text: &str) {
        self.until(text, || self.log(name).contains(text)).await;
    }

    pub async fn until(&self, what: &str, met: impl Fn() -> bool) {
        let start = Instant::now();
        while !met() {
            assert!(start.elapsed() < Duration::from_secs(10), "never: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

pub fn sandbox(node: &Node, name: &str) -> v1::RunPodSandboxRequest {
    let config = v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: name.into(),
            uid: name.into(),
            namespace: "default".into(),
            attempt: 0,
        }),
        hostname: format!("pod-{name}"),
        log_directory: node.dir().join("log").display().to_string(),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: format!("/kubepods/pod{name}"),
            security_context: Some(v1::LinuxSandboxSecurityContext {
                namespace_options: Some(v1::NamespaceOption { pid: 1, ..Default::default() }),
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    };
    v1::RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() }
}

pub fn container(_node: &Node, pod: &str, name: &str, command: &[&str]) -> v1::CreateContainerRequest {
    let config = v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: name.into(), attempt: 0 }),
        image: Some(v1::ImageSpec { image: IMAGE.into(), ..Default::default() }),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        log_path: format!("{name}.log"),
        linux: Some(v1::LinuxContainerConfig {
            resources: Some(v1::LinuxContainerResources {
                cpu_shares: 100,
                memory_limit_in_bytes: 64 << 20,
                oom_score_adj: 900,
                ..Default::default()
            }),
            security_context: Some(v1::LinuxContainerSecurityContext {
                namespace_options: Some(v1::NamespaceOption { pid: 1, ..Default::default() }),
                seccomp: Some(v1::SecurityProfile { profile_type: 0, ..Default::default() }),
                masked_paths: ["/proc/kcore", "/proc/keys"].map(str::to_owned).to_vec(),
                readonly_paths: ["/proc/sys", "/proc/bus"].map(str::to_owned).to_vec(),
                ..Default::default()
            }),
        }),
        ..Default::default()
    };
    v1::CreateContainerRequest { pod_sandbox_id: pod.into(), config: Some(config), sandbox_config: None }
}
