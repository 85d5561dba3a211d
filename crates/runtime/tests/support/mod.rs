//! A node of its own for each test: data directory, instance, network namespace.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cni::{Attached, Attachment, NetworkError, PodNetwork};
use cri::v1;
use nix::sched::{CloneFlags, unshare};
use runtime::native::{Config, Native};

pub const IMAGE: &str = "example.test/busybox:1";

pub struct Node {
    dir: tempfile::TempDir,
    instance: String,
}

/// A network without a way out: the real one has tests of its own.
struct Loopback;

#[async_trait::async_trait]
impl PodNetwork for Loopback {
    async fn attach(&self, what: &Attachment) -> Result<Attached, NetworkError> {
        sys::netlink::Netlink::inside(&what.netns).unwrap().up("lo").await.unwrap();
        Ok(Attached { addresses: vec!["10.99.3.2".parse().unwrap()] })
    }

    async fn detach(&self, _: &str, _: &Path) -> Result<(), NetworkError> {
        Ok(())
    }

    async fn ready(&self) -> Result<(), NetworkError> {
        Ok(())
    }
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
        let config = Config {
            dir: self.dir().to_owned(),
            instance: self.instance.clone(),
            program: env!("CARGO_BIN_EXE_runtime-test-shim").into(),
            network: Arc::new(Loopback),
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
        let layer = base_layer();
        let (config, layers) = (document(&[&layer]), ["a/layer.tar"]);
        let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": [IMAGE], "Layers": layers }]);
        let mut archive = tar::Builder::new(std::fs::File::create(self.dir().join("image.tar")).unwrap());
        let manifest = manifest.to_string().into_bytes();
        for (path, content) in [("config.json", config), ("a/layer.tar", layer), ("manifest.json", manifest)] {
            append(&mut archive, path, 0o644, &content);
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

fn append<W: std::io::Write>(archive: &mut tar::Builder<W>, path: &str, mode: u32, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_size(content.len() as u64);
    header.set_entry_type(if path.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular });
    archive.append_data(&mut header, path, content).unwrap();
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(<sha2::Sha256 as sha2::Digest>::digest(bytes)))
}

/// An image's configuration over these uncompressed layers.
fn document(layers: &[&[u8]]) -> Vec<u8> {
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Env": ["PATH=/bin", "GREETING=hello"], "Cmd": ["sh"] },
        "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|layer| digest(layer)).collect::<Vec<_>>() },
    });
    config.to_string().into_bytes()
}

fn base_layer() -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    for path in ["bin/", "etc/", "dev/", "proc/", "sys/"] {
        append(&mut layer, path, 0o755, b"");
    }
    append(&mut layer, "tmp/", 0o1777, b"");
    append(&mut layer, "bin/busybox", 0o755, &std::fs::read("/bin/busybox").unwrap());
    append(&mut layer, "etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:33:web:/:/bin/sh\n");
    append(&mut layer, "etc/group", 0o644, b"root:x:0:\nweb:x:33:\n");
    let names = "sh cat sleep hostname stty id true ls nc head dd mount grep tr";
    for name in names.split(' ') {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        layer.append_link(&mut header, format!("bin/{name}"), "busybox").unwrap();
    }
    layer.into_inner().unwrap()
}

/// Pushes an image of three layers (plain, gzip, zstd) over HTTP; answers how many.
pub async fn push(_node: &Node, name: &str) -> usize {
    use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
    use oci_client::manifest::{IMAGE_LAYER_GZIP_MEDIA_TYPE, IMAGE_LAYER_MEDIA_TYPE};
    use std::io::Write;
    drop(rustls::crypto::ring::default_provider().install_default());
    let small = |text: &str| {
        let mut layer = tar::Builder::new(Vec::new());
        append(&mut layer, text, 0o644, format!("{text}\n").as_bytes());
        layer.into_inner().unwrap()
    };
    let (base, gzip, zstd) = (base_layer(), small("gzip"), small("zstd"));
    let config = Config::oci_v1(document(&[&base, &gzip, &zstd]), None);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&gzip).unwrap();
    let layers = [
        ImageLayer::new(base, IMAGE_LAYER_MEDIA_TYPE.to_owned(), None),
        ImageLayer::new(encoder.finish().unwrap(), IMAGE_LAYER_GZIP_MEDIA_TYPE.to_owned(), None),
        ImageLayer::new(
            zstd::encode_all(zstd.as_slice(), 0).unwrap(),
            "application/vnd.oci.image.layer.v1.tar+zstd".into(),
            None,
        ),
    ];
    let client = oci_client::Client::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() });
    let auth = oci_client::secrets::RegistryAuth::Anonymous;
    client.push(&name.parse().unwrap(), &layers, config, &auth, None).await.unwrap();
    layers.len()
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
