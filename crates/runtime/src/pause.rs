//! The image of the process that holds a sandbox, for engines that want one: a program of 188 bytes that sleeps.
//!
//! Engines of others hold a pod's namespaces by a process in a container. Upstream's image for it is in a registry that
//! not every node reaches; this one comes with the binary.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Name of the image.
pub const IMAGE: &str = "localhost/oxikube/pause:1";

/// Where the program is in memory.
const BASE: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

/// Machine code for x86-64: children's ends are ignored, which reaps them; then it waits for signals without end.
const CODE: [u8; 34] = [
    0xb8, 0x0d, 0, 0, 0, // mov eax, 13 (rt_sigaction)
    0xbf, 0x11, 0, 0, 0, // mov edi, 17 (SIGCHLD)
    0xbe, 0x9a, 0, 0x40, 0, // mov esi, ACTION
    0x31, 0xd2, // xor edx, edx
    0x41, 0xba, 0x08, 0, 0, 0, // mov r10d, 8
    0x0f, 0x05, // syscall
    0xb8, 0x22, 0, 0, 0, // again: mov eax, 34 (pause)
    0x0f, 0x05, // syscall
    0xeb, 0xf7, // jmp again
];

/// `struct sigaction` with the handler `SIG_IGN`, right after the code.
const ACTION: [u8; 32] = {
    let mut action = [0; 32];
    action[0] = 1;
    action
};

/// The program as an ELF file without sections.
fn program() -> Vec<u8> {
    let size = HEADERS + (CODE.len() + ACTION.len()) as u64;
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let half = |elf: &mut Vec<u8>, values: &[u16]| values.iter().for_each(|v| elf.extend(v.to_le_bytes()));
    let word = |elf: &mut Vec<u8>, values: &[u32]| values.iter().for_each(|v| elf.extend(v.to_le_bytes()));
    let long = |elf: &mut Vec<u8>, values: &[u64]| values.iter().for_each(|v| elf.extend(v.to_le_bytes()));
    // An executable for x86-64; entry, program headers at 64, no sections.
    half(&mut elf, &[2, 62]);
    word(&mut elf, &[1]);
    long(&mut elf, &[BASE + HEADERS, 64, 0]);
    word(&mut elf, &[0]);
    half(&mut elf, &[64, 56, 1, 0, 0, 0]);
    // One segment, readable and executable: the whole file.
    word(&mut elf, &[1, 5]);
    long(&mut elf, &[0, BASE, BASE, size, size, 0x1000]);
    elf.extend(CODE);
    elf.extend(ACTION);
    elf
}

/// The image as an archive that containerd and Docker both import; none for a machine that it has no program for.
pub fn archive() -> Option<std::io::Result<Vec<u8>>> {
    (std::env::consts::ARCH == "x86_64").then(build)
}

fn build() -> std::io::Result<Vec<u8>> {
    let layer = tar(&[("pause", 0o755, program())])?;
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "1970-01-01T00:00:00Z",
        "config": {"Entrypoint": ["/pause"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "oxikube"}],
    });
    let config = config.to_string().into_bytes();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", &config),
        "layers": [descriptor("layer.v1.tar", &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut listed = descriptor("manifest.v1+json", &manifest);
    if let Some(map) = listed.as_object_mut() {
        map.insert("annotations".into(), json!({"io.containerd.image.name": IMAGE}));
    }
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [listed],
    });
    let docker = json!([{"Config": blob(&config), "RepoTags": [IMAGE], "Layers": [blob(&layer)]}]);
    tar(&[
        ("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json", 0o644, index.to_string().into_bytes()),
        ("manifest.json", 0o644, docker.to_string().into_bytes()),
        (&blob(&config), 0o644, config),
        (&blob(&manifest), 0o644, manifest),
        (&blob(&layer), 0o644, layer),
    ])
}

fn tar(files: &[(&str, u32, Vec<u8>)]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, mode, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_mtime(0);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, path, bytes.as_slice())?;
    }
    archive.into_inner()
}

fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hash(bytes))
}

fn blob(bytes: &[u8]) -> String {
    format!("blobs/sha256/{}", hash(bytes))
}

fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    let media_type = format!("application/vnd.oci.image.{kind}");
    json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_program_sleeps_until_it_is_ended() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("pause");
        std::fs::write(&path, program()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut child = std::process::Command::new(&path).spawn().unwrap();
        let asleep = || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
            stat.contains(" (pause) S ")
        };
        for _ in 0..2000 {
            if asleep() {
                break;
            }
            std::thread::yield_now();
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(asleep() && child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn the_archive_holds_what_it_names() {
        let bytes = build().unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let names: Vec<String> =
            archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names.len(), 6);
        let docker = String::from_utf8_lossy(&bytes);
        assert!(
            names
                .iter()
                .filter(|n| n.starts_with("blobs/"))
                .all(|n| docker.contains(n.trim_start_matches("blobs/sha256/")))
        );
    }
}
