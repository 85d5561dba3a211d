use sha2::Digest;

use super::*;

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(sha2::Sha256::digest(bytes)))
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, path, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

struct Image {
    layer: Vec<u8>,
    config: Vec<u8>,
}

fn image() -> Image {
    let layer = tar(&[("f", b"x")]);
    let config = serde_json::json!({
        "config": { "Cmd": ["a"], "Entrypoint": null }, "rootfs": { "diff_ids": [digest(&layer)] },
    });
    Image { config: config.to_string().into_bytes(), layer }
}

fn import_bytes(bytes: &[u8]) -> (tempfile::TempDir, Store, Result<Vec<String>, ImageError>) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("images")).unwrap();
    let file = dir.path().join("a.tar");
    fs::write(&file, bytes).unwrap();
    let done = import(&store, &file);
    assert_eq!(fs::read_dir(dir.path().join("images/tmp")).unwrap().count(), 0, "nothing temporary stays");
    (dir, store, done)
}

fn docker(layer: &[u8], config: &[u8]) -> Vec<u8> {
    let manifest = br#"[{"Config":"c.json","RepoTags":["web:1"],"Layers":["l/layer.tar"]}]"#;
    tar(&[("c.json", config), ("l/layer.tar", layer), ("manifest.json", manifest)])
}

/// An OCI layout with an index of indexes, whose blobs may be tampered with.
fn oci(tamper: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let Image { layer, config } = image();
    let mut compressed = zstd::encode_all(layer.as_slice(), 0).unwrap();
    let manifest =
        serde_json::json!({ "config": { "digest": digest(&config) }, "layers": [{ "digest": digest(&compressed) }] });
    let manifest = manifest.to_string().into_bytes();
    let platform = |arch: &str| serde_json::json!({ "os": "linux", "architecture": arch });
    let inner = serde_json::json!({ "manifests": [
        { "digest": digest(b"other"), "platform": platform("vax") },
        { "digest": digest(&manifest), "platform": platform(architecture()) },
    ] });
    let inner = inner.to_string().into_bytes();
    let index = serde_json::json!({ "manifests": [{
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": digest(&inner),
        "annotations": { "org.opencontainers.image.ref.name": "example.test/web:2" },
    }] });
    let path = |bytes: &[u8]| format!("blobs/sha256/{}", &digest(bytes)[7..]);
    let (m, c, l, i) = (path(&manifest), path(&config), path(&compressed), path(&inner));
    tamper(&mut compressed);
    let index = index.to_string().into_bytes();
    tar(&[
        ("oci-layout", b"{}"),
        ("index.json", &index),
        (&m, &manifest),
        (&c, &config),
        (&l, &compressed),
        (&i, &inner),
    ])
}

#[test]
fn archives_of_docker_are_read() {
    let Image { layer, config } = image();
    let (_dir, store, done) = import_bytes(&docker(&layer, &config));
    assert_eq!(done.unwrap(), [digest(&config)]);
    let record = store.find("web:1").unwrap();
    assert_eq!(
        (record.tags.first().unwrap().as_str(), record.config.cmd),
        ("docker.io/library/web:1", vec!["a".to_owned()])
    );
    assert_eq!(store.lower(&store.find("web:1").unwrap()).unwrap().len(), 1);
}

#[test]
fn oci_layouts_are_read() {
    let (_dir, store, done) = import_bytes(&oci(|_| {}));
    done.unwrap();
    let record = store.find("example.test/web:2").unwrap();
    assert!(record.digests.first().unwrap().starts_with("example.test/web@sha256:"));
}

#[test]
fn a_store_is_as_before_when_opened_again() {
    let (dir, store, done) = import_bytes(&oci(|_| {}));
    done.unwrap();
    let images = dir.path().join("images");
    fs::create_dir(images.join("l/999")).unwrap();
    let again = Store::open(&images).unwrap();
    assert_eq!(again.list(), store.list());
    assert!(!images.join("l/999").exists(), "a half unpacked layer goes");
}

#[test]
fn what_is_wrong_is_refused_and_leaves_nothing() {
    let Image { layer, config } = image();
    let other = tar(&[("f", b"y")]);
    let escape = tar(&[("manifest.json", br#"[{"Config":"../../etc/passwd","Layers":[]}]"#)]);
    let hostile = [
        docker(&other, &config),
        docker(&layer[..600], &config),
        docker(&layer, b"not json"),
        tar(&[("manifest.json", br#"[{"Config":"c.json","Layers":[]}]"#)]),
        escape,
        tar(&[("x", b"")]),
        oci(|layer| layer.push(0)),
        oci(|layer| layer.truncate(5)),
        b"no archive at all".to_vec(),
    ];
    for (number, bytes) in hostile.iter().enumerate() {
        let (dir, store, done) = import_bytes(bytes);
        assert!(done.is_err(), "number {number}");
        assert!(store.list().is_empty());
        assert_eq!(fs::read_dir(dir.path().join("images/l")).unwrap().count(), 0, "number {number}");
    }
}
