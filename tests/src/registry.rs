//! A registry of images for a test: Debian's `docker-registry`, in the network of the cluster.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::cluster::{Cluster, Output, collect, workspace};

/// The address that it listens on; engines speak plain HTTP to loopback addresses.
const ADDRESS: &str = "127.0.0.1:5000";

/// A registry under way; gone, with what was pushed, when it is dropped.
pub struct Registry<'a> {
    cluster: &'a Cluster,
    process: Child,
    directory: PathBuf,
}

#[allow(clippy::panic, reason = "a test without its registry has failed")]
impl<'a> Registry<'a> {
    /// Starts it.
    ///
    /// # Panics
    /// When it is not installed, or does not listen.
    pub fn start(cluster: &'a Cluster) -> Self {
        let directory = std::env::temp_dir().join(format!("{}-registry", cluster.name()));
        let configuration = directory.join("config.yml");
        let text = format!(
            "version: 0.1\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: {ADDRESS} }}\n",
            directory.join("data").display()
        );
        let written = std::fs::create_dir_all(&directory).and_then(|()| std::fs::write(&configuration, text));
        written.unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
        let mut command = cluster.command("docker-registry");
        command.arg("serve").arg(&configuration).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap_or_else(|e| panic!("docker-registry: {e}"));
        let registry = Self { cluster, process, directory };
        crate::eventually("the registry listens", || {
            let said = registry.curl("v2/", &[]);
            if said.ok { Ok(()) } else { Err(said.stderr) }
        });
        registry
    }

    /// Pushes the nginx image, made another one by its author, as `NAME:1`; says how it is called there.
    ///
    /// # Panics
    /// When the registry refuses it.
    pub fn push_nginx(&self, name: &str) -> String {
        let image = self.directory.join("image");
        std::fs::create_dir_all(&image).unwrap_or_else(|e| panic!("{}: {e}", image.display()));
        let mut unpack = Command::new("tar");
        unpack.arg("-xf").arg(workspace().join("target/nginx.tar")).arg("-C").arg(&image);
        collect(unpack, None).must();
        let index = read(&image.join("index.json"));
        let mut manifest = read(&blob(&image, text(&index, "/manifests/0/digest")));
        let mut config = read(&blob(&image, text(&manifest, "/config/digest")));
        set(&mut config, "", "author", name.into());
        let (digest, size) = add(&image, &config);
        set(&mut manifest, "/config", "digest", digest.into());
        set(&mut manifest, "/config", "size", size.into());
        let layers = manifest.get("layers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for part in layers.iter().chain(manifest.get("config")) {
            self.push_blob(name, &image, text(part, "/digest"));
        }
        let kind = format!("Content-Type: {}", text(&manifest, "/mediaType"));
        let data = format!("@{}", blob(&image, &add(&image, &manifest).0).display());
        let put = ["-X", "PUT", "-H", &kind, "--data-binary", &data];
        self.curl(&format!("v2/{name}/manifests/1"), &put).must();
        format!("{ADDRESS}/{name}:1")
    }

    fn push_blob(&self, name: &str, image: &Path, digest: &str) {
        let begun = self.curl(&format!("v2/{name}/blobs/uploads/"), &["-X", "POST", "-D", "-"]).must();
        let location = begun.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap_or_default().trim();
        let path = location.split_once(ADDRESS).map(|(_, path)| path.trim_start_matches('/')).unwrap_or_default();
        let data = format!("@{}", blob(image, digest).display());
        let kind = "Content-Type: application/octet-stream";
        self.curl(&format!("{path}&digest={digest}"), &["-X", "PUT", "-H", kind, "--data-binary", &data]).must();
    }

    fn curl(&self, path: &str, arguments: &[&str]) -> Output {
        let mut command = self.cluster.command("curl");
        command.args(["-sS", "-f", "-m", "20"]).args(arguments).arg(format!("http://{ADDRESS}/{path}"));
        collect(command, None)
    }
}

/// Adds a document to the blobs of an image; its digest and size.
#[allow(clippy::panic, reason = "a test without its image has failed")]
fn add(image: &Path, document: &Value) -> (String, usize) {
    let (text, file) = (document.to_string(), image.join("document"));
    std::fs::write(&file, &text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut sum = Command::new("sha256sum");
    sum.arg(&file);
    let said = collect(sum, None).must();
    let digest = format!("sha256:{}", said.split_whitespace().next().unwrap_or_default());
    let place = blob(image, &digest);
    std::fs::rename(&file, &place).unwrap_or_else(|e| panic!("{}: {e}", place.display()));
    (digest, text.len())
}

fn blob(image: &Path, digest: &str) -> PathBuf {
    image.join("blobs").join(digest.replace(':', "/"))
}

fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn set(document: &mut Value, pointer: &str, key: &str, value: Value) {
    if let Some(fields) = document.pointer_mut(pointer).and_then(Value::as_object_mut) {
        fields.insert(key.to_owned(), value);
    }
}

#[allow(clippy::panic, reason = "a test without its image has failed")]
fn read(file: &Path) -> Value {
    let bytes = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

impl Drop for Registry<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait().map(drop)) {
            eprintln!("the registry does not end: {error}");
        }
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("left behind: {}: {error}", self.directory.display());
        }
    }
}
