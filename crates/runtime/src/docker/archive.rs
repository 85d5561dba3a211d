//! OCI archives for a Docker that reads only its own kind: the same archive, with the list that Docker looks for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;
use serde_json::json;
use tempfile::NamedTempFile;

/// The documents of an archive are smaller.
const MAX_DOCUMENT: u64 = 8 << 20;

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

/// The archive with Docker's list in it; none if it has one, or is none that this can help. Blocks.
pub(super) fn with_list(archive: &Path) -> io::Result<Option<NamedTempFile>> {
    let Some(list) = list(File::open(archive)?)? else { return Ok(None) };
    let mut out = tar::Builder::new(NamedTempFile::new()?);
    for entry in tar::Archive::new(File::open(archive)?).entries()? {
        let entry = entry?;
        let mut header = entry.header().clone();
        let path = entry.path()?.into_owned();
        out.append_data(&mut header, path, entry)?;
    }
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(list.len() as u64);
    out.append_data(&mut header, "manifest.json", list.as_slice())?;
    out.into_inner().map(Some)
}

fn list(archive: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut documents = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries()? {
        // A compressed archive: Docker takes it as it is, or says why not.
        let Ok(mut entry) = entry else { return Ok(None) };
        let path = entry.path()?.display().to_string();
        let path = path.trim_start_matches("./").to_owned();
        if path == "manifest.json" {
            return Ok(None);
        }
        if entry.size() <= MAX_DOCUMENT && (path == "index.json" || path.starts_with("blobs/")) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            if bytes.first() == Some(&b'{') {
                documents.insert(path, bytes);
            }
        }
    }
    let Some(index) = documents.get("index.json") else { return Ok(None) };
    let index: Index = serde_json::from_slice(index).map_err(io::Error::other)?;
    let mut images = Vec::new();
    for image in &index.manifests {
        let Some(bytes) = documents.get(&blob(&image.digest)) else { continue };
        // An index in the index (several platforms) is left to those who know it.
        let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) else { continue };
        let names = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];
        let name = names.iter().find_map(|key| image.annotations.get(*key));
        let layers: Vec<String> = manifest.layers.iter().map(|layer| blob(&layer.digest)).collect();
        images.push(json!({
            "Config": blob(&manifest.config.digest), "RepoTags": name.into_iter().collect::<Vec<_>>(), "Layers": layers,
        }));
    }
    if images.is_empty() { Ok(None) } else { serde_json::to_vec(&images).map(Some).map_err(io::Error::other) }
}

fn blob(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar(files: &[(&str, &str)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            archive.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        archive.into_inner().unwrap()
    }

    const INDEX: &str =
        r#"{"manifests": [{"digest": "sha256:m", "annotations": {"io.containerd.image.name": "a:1"}}]}"#;
    const MANIFEST: &str = r#"{"config": {"digest": "sha256:c"}, "layers": [{"digest": "sha256:l"}]}"#;

    #[test]
    fn docker_finds_the_images_of_an_oci_archive() {
        let archive = tar(&[("index.json", INDEX), ("blobs/sha256/m", MANIFEST), ("blobs/sha256/l", "layer")]);
        let found = list(archive.as_slice()).unwrap().unwrap();
        let found: serde_json::Value = serde_json::from_slice(&found).unwrap();
        let wanted = json!([{"Config": "blobs/sha256/c", "RepoTags": ["a:1"], "Layers": ["blobs/sha256/l"]}]);
        assert_eq!(found, wanted);
    }

    #[test]
    fn docker_s_own_archives_stay_as_they_are() {
        let both = tar(&[("index.json", INDEX), ("blobs/sha256/m", MANIFEST), ("manifest.json", "[]")]);
        assert!(list(both.as_slice()).unwrap().is_none());
        assert!(list(&b"\x1f\x8b no tar"[..]).unwrap().is_none());
    }
}
