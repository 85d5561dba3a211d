//! The nginx image, made from Debian's packages as an OCI archive: the same bytes each time for the same packages.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What the image is for, and what is needed to look around in it.
const PACKAGES: &[&str] =
    &["nginx", "nginx-common", "dash", "coreutils", "tar", "libc-bin", "curl", "grep", "sed", "procps", "base-files"];
/// Packages that only the installation of others needs.
const LEFT_OUT: &[&str] = &[
    "adduser",
    "apt",
    "bsdutils",
    "debconf",
    "debianutils",
    "dpkg",
    "init-system-helpers",
    "iproute2",
    "lsb-base",
    "login",
    "mount",
    "passwd",
    "perl",
    "perl-base",
    "sensible-utils",
    "systemd",
    "sysvinit-utils",
    "ucf",
    "util-linux",
];
/// Folders that a container does not read.
const NOT_WANTED: &[&str] =
    &["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian"];

/// Writes the archive to `out`.
pub(crate) fn run(out: &Path) -> Result<(), String> {
    let work = out.with_extension("work");
    remove(&work)?;
    let (debs, root) = (work.join("debs"), work.join("root"));
    for folder in [&debs, &root] {
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let packages = closure()?;
    println!("image: {} Debian packages", packages.len());
    command(Command::new("apt-get").arg("download").arg("-qq").args(&packages).current_dir(&debs))?;
    for deb in sorted(&debs)? {
        command(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&root))?;
    }
    settle(&root)?;
    let layer = layer(&root)?;
    fs::write(out, archive(&layer)?).map_err(|e| format!("{}: {e}", out.display()))?;
    println!("image: {} ({} MiB)", out.display(), layer.len() >> 20);
    remove(&work)
}

fn remove(path: &Path) -> Result<(), String> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {e}", path.display())),
        _ => Ok(()),
    }
}

/// The packages and what they depend on.
fn closure() -> Result<Vec<String>, String> {
    let options = [
        "depends",
        "--recurse",
        "--no-recommends",
        "--no-suggests",
        "--no-conflicts",
        "--no-breaks",
        "--no-replaces",
        "--no-enhances",
        "--installed",
    ];
    let full: Vec<&str> = options.iter().copied().filter(|o| *o != "--installed").collect();
    let text = command(Command::new("apt-cache").args(full).args(PACKAGES))?;
    let mut names: Vec<String> = text
        .lines()
        .filter(|l| l.starts_with(|c: char| c.is_ascii_alphanumeric()))
        .map(|l| l.trim().to_owned())
        .filter(|n| !n.contains(':') && !LEFT_OUT.contains(&n.as_str()))
        .filter(|n| {
            PACKAGES.contains(&n.as_str()) || n.starts_with("lib") || n.starts_with("zlib") || n.starts_with("nginx")
        })
        .filter(|n| !n.starts_with("libperl") && !n.ends_with("-perl") && !n.starts_with("libdebconf"))
        .collect();
    names.sort();
    names.dedup();
    names.retain(|n| exists(n));
    Ok(names)
}

/// Whether a name is a package of its own and not only provided by others.
fn exists(name: &str) -> bool {
    command(Command::new("apt-cache").args(["show", "--no-all-versions", name])).is_ok_and(|t| !t.trim().is_empty())
}

fn command(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    paths.sort();
    Ok(paths)
}

/// What the packages' installation scripts would have done.
fn settle(root: &Path) -> Result<(), String> {
    for folder in NOT_WANTED {
        remove(&root.join(folder))?;
    }
    let put = |name: &str, text: &str| {
        let path = root.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|e| format!("{}: {e}", parent.display()))?;
        }
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
    };
    put(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    )?;
    put("etc/group", "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n")?;
    put("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")?;
    put(
        "etc/nginx/nginx.conf",
        "user www-data;\nworker_processes 1;\npid /run/nginx.pid;\nerror_log /dev/stderr notice;\nevents { worker_connections 512; }\nhttp {\n  include /etc/nginx/mime.types;\n  access_log /dev/stdout;\n  server {\n    listen 80 default_server;\n    root /usr/share/nginx/html;\n    index index.html;\n  }\n}\n",
    )?;
    for folder in ["tmp", "run", "proc", "sys", "dev", "root", "var/log/nginx", "var/lib/nginx", "var/tmp"] {
        let path = root.join(folder);
        fs::create_dir_all(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    let shell = root.join("bin/sh");
    if fs::symlink_metadata(&shell).is_err() {
        std::os::unix::fs::symlink("dash", &shell).map_err(|e| format!("{}: {e}", shell.display()))?;
    }
    Ok(())
}

/// The root as a compressed tar: sorted, without times, owned by root.
fn layer(root: &Path) -> Result<Vec<u8>, String> {
    let mut found = BTreeMap::new();
    walk(root, Path::new(""), &mut found)?;
    let encoder = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::best());
    let mut tar = tar::Builder::new(encoder);
    for (name, path) in found {
        let metadata = fs::symlink_metadata(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut header = tar::Header::new_gnu();
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        let sticky = name == Path::new("tmp") || name == Path::new("var/tmp");
        header.set_mode(if sticky { 0o1777 } else { metadata.permissions().mode() & 0o7777 });
        let appended = if metadata.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            fs::read_link(&path).and_then(|target| tar.append_link(&mut header, &name, target))
        } else if metadata.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_size(0);
            tar.append_data(&mut header, &name, std::io::empty())
        } else if metadata.is_file() {
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(metadata.len());
            fs::File::open(&path).and_then(|file| tar.append_data(&mut header, &name, file))
        } else {
            Ok(())
        };
        appended.map_err(|e| format!("{}: {e}", path.display()))?;
    }
    tar.into_inner().and_then(flate2::write::GzEncoder::finish).map_err(|e| e.to_string())
}

fn walk(root: &Path, below: &Path, found: &mut BTreeMap<PathBuf, PathBuf>) -> Result<(), String> {
    for path in sorted(&root.join(below))? {
        let Some(name) = path.file_name() else { continue };
        let name = below.join(name);
        let folder = fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir());
        found.insert(name.clone(), path);
        if folder {
            walk(root, &name, found)?;
        }
    }
    Ok(())
}

/// The OCI archive around one layer.
fn archive(layer: &[u8]) -> Result<Vec<u8>, String> {
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(layer), &mut plain).map_err(|e| e.to_string())?;
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "1970-01-01T00:00:00Z",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": ["nginx", "-g", "daemon off;"], "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGQUIT",
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(&plain)]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "xtask image"}],
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.oci.image.config.v1+json", &config),
        "layers": [blob("application/vnd.oci.image.layer.v1.tar+gzip", layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut index = blob("application/vnd.oci.image.manifest.v1+json", &manifest);
    if let Some(map) = index.as_object_mut() {
        let name = "docker.io/library/nginx:latest";
        map.insert(
            "annotations".into(),
            json!({"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name}),
        );
    }
    let index =
        json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [index]});
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes).map_err(|e| e.to_string())
    };
    add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    add("index.json", index.to_string().as_bytes())?;
    for bytes in [config.as_slice(), manifest.as_slice(), layer] {
        add(&format!("blobs/sha256/{}", hex::encode(Sha256::digest(bytes))), bytes)?;
    }
    let mut bytes = tar.into_inner().map_err(|e| e.to_string())?;
    bytes.flush().map_err(|e| e.to_string())?;
    Ok(bytes)
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn blob(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}
