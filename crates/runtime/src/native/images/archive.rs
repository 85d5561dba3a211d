//! Image archives: what `docker save` writes, and OCI image layouts in a tar, plain or compressed. Untrusted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::store::{Document, Origin, Scratch, Store, chain_ids};
use super::{ImageError, reference, unpack};

const MAX_ENTRIES: usize = 10_000;
const MAX_BYTES: u64 = 64 << 30;
const MAX_DOCUMENT: u64 = 8 << 20;

/// An archive laid out in a scratch directory.
struct Contents {
    scratch: Scratch,
    /// Path in the archive to file in the scratch directory.
    files: BTreeMap<PathBuf, PathBuf>,
    /// Links of the archive (`docker save` links equal layers).
    links: BTreeMap<PathBuf, PathBuf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(default, rename = "mediaType")]
    media_type: String,
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Deserialize)]
struct OciIndex {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct OciManifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

fn invalid(text: impl Into<String>) -> ImageError {
    ImageError::Invalid(text.into())
}

/// Imports every image of an archive; answers their ids. Blocks.
pub(crate) fn import(store: &Store, archive: &Path) -> Result<Vec<String>, ImageError> {
    let contents = lay_out(store, archive)?;
    if contents.locate(Path::new("index.json")).is_some() && contents.locate(Path::new("oci-layout")).is_some() {
        return import_oci(store, &contents);
    }
    let images: Vec<DockerImage> = contents
        .document(Path::new("manifest.json"))?
        .ok_or_else(|| invalid("neither an OCI image layout nor an archive of docker save"))?;
    images.into_iter().map(|image| import_docker(store, &contents, &image)).collect()
}

fn lay_out(store: &Store, archive: &Path) -> Result<Contents, ImageError> {
    let reading = || ImageError::file("read", archive);
    let file = File::open(archive).map_err(ImageError::file("open", archive))?;
    let mut tar = tar::Archive::new(io::Read::take(unpack::decompress(file).map_err(reading())?, MAX_BYTES));
    let scratch = store.scratch()?;
    let (mut files, mut links) = (BTreeMap::new(), BTreeMap::new());
    for (number, entry) in tar.entries().map_err(reading())?.enumerate() {
        if number >= MAX_ENTRIES {
            return Err(invalid("the archive has too many entries"));
        }
        let mut entry = entry.map_err(reading())?;
        let path = flat(&entry.path().map_err(reading())?)?;
        let kind = entry.header().entry_type();
        if kind.is_file() {
            let place = scratch.path().join(number.to_string());
            let mut out = File::create_new(&place).map_err(ImageError::file("create", &place))?;
            io::copy(&mut entry, &mut out).map_err(ImageError::file("write", &place))?;
            files.insert(path, place);
        } else if kind.is_symlink() || kind.is_hard_link() {
            let to = entry.link_name().map_err(reading())?.map(|name| name.into_owned()).unwrap_or_default();
            let base = if kind.is_symlink() { path.parent().unwrap_or(Path::new("")) } else { Path::new("") };
            links.insert(path.clone(), flat(&base.join(to))?);
        }
    }
    Ok(Contents { scratch, files, links })
}

/// A path with `.` and `..` worked out; one that leaves the archive is refused.
fn flat(path: &Path) -> Result<PathBuf, ImageError> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir if clean.pop() => {}
            _ => return Err(invalid(format!("the archive reaches outside of itself: {}", path.display()))),
        }
    }
    Ok(clean)
}

impl Contents {
    fn locate(&self, path: &Path) -> Option<&Path> {
        let path = self.links.get(path).map_or(path, PathBuf::as_path);
        self.files.get(path).map(PathBuf::as_path)
    }

    fn open(&self, path: &Path) -> Result<File, ImageError> {
        let place = self.locate(path).ok_or_else(|| invalid(format!("the archive lacks {}", path.display())))?;
        File::open(place).map_err(ImageError::file("open", self.scratch.path()))
    }

    fn bytes(&self, path: &Path) -> Result<Vec<u8>, ImageError> {
        let place = self.locate(path).ok_or_else(|| invalid(format!("the archive lacks {}", path.display())))?;
        let size = fs::metadata(place).map_err(ImageError::file("look at", place))?.len();
        if size > MAX_DOCUMENT {
            return Err(invalid(format!("{} is too large", path.display())));
        }
        fs::read(place).map_err(ImageError::file("read", place))
    }

    fn document<T: for<'a> Deserialize<'a>>(&self, path: &Path) -> Result<Option<T>, ImageError> {
        if self.locate(path).is_none() {
            return Ok(None);
        }
        let bytes = self.bytes(path)?;
        serde_json::from_slice(&bytes).map(Some).map_err(|e| invalid(format!("{}: {e}", path.display())))
    }

    /// The blob of a digest, checked.
    fn blob(&self, digest: &str) -> Result<Vec<u8>, ImageError> {
        use sha2::Digest;
        let bytes = self.bytes(&blob_path(digest)?)?;
        let found = format!("sha256:{}", hex::encode(sha2::Sha256::digest(&bytes)));
        if found == digest { Ok(bytes) } else { Err(invalid(format!("a blob has digest {found}, not {digest}"))) }
    }
}

fn blob_path(digest: &str) -> Result<PathBuf, ImageError> {
    let hex =
        digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
    hex.map(|hex| Path::new("blobs/sha256").join(hex)).ok_or_else(|| invalid(format!("{digest:?} is no sha256 digest")))
}

fn import_docker(store: &Store, contents: &Contents, image: &DockerImage) -> Result<String, ImageError> {
    let document = contents.bytes(&flat(Path::new(&image.config))?)?;
    let layers = image.layers.iter().map(|layer| flat(Path::new(layer))).collect::<Result<Vec<_>, _>>()?;
    add_layers(store, contents, &document, &layers)?;
    let tags = image.repo_tags.iter().flatten().map(|tag| reference::normalize(tag));
    store.add_image(&document, tags, None, Origin::Archive)
}

fn import_oci(store: &Store, contents: &Contents) -> Result<Vec<String>, ImageError> {
    let index: OciIndex = contents.document(Path::new("index.json"))?.ok_or_else(|| invalid("no index.json"))?;
    let mut ids = Vec::new();
    for descriptor in &index.manifests {
        let annotation = |name: &str| descriptor.annotations.get(name);
        let name = annotation("io.containerd.image.name").or_else(|| annotation("org.opencontainers.image.ref.name"));
        let tag = name.map(|name| reference::normalize(name));
        let manifest = resolve(contents, descriptor, 0)?;
        let parsed: OciManifest =
            serde_json::from_slice(&manifest).map_err(|e| invalid(format!("image manifest: {e}")))?;
        let document = contents.blob(&parsed.config.digest)?;
        let layers = parsed.layers.iter().map(|layer| blob_path(&layer.digest)).collect::<Result<Vec<_>, _>>()?;
        add_layers(store, contents, &document, &layers)?;
        let digest = tag.as_ref().map(|tag| format!("{}@{}", reference::repository(tag), descriptor.digest));
        ids.push(store.add_image(&document, tag, digest, Origin::Archive)?);
    }
    Ok(ids)
}

/// The manifest for this machine, through at most a few indexes of indexes.
fn resolve(contents: &Contents, descriptor: &Descriptor, depth: u8) -> Result<Vec<u8>, ImageError> {
    let bytes = contents.blob(&descriptor.digest)?;
    if !descriptor.media_type.contains("index") && !descriptor.media_type.contains("manifest.list") {
        return Ok(bytes);
    }
    if depth > 3 {
        return Err(invalid("image indexes are nested too deeply"));
    }
    let index: OciIndex = serde_json::from_slice(&bytes).map_err(|e| invalid(format!("image index: {e}")))?;
    let fits =
        |d: &&Descriptor| d.platform.as_ref().is_none_or(|p| p.os == "linux" && p.architecture == architecture());
    let chosen = index.manifests.iter().find(fits);
    resolve(contents, chosen.ok_or_else(|| invalid("no image for linux on this architecture"))?, depth + 1)
}

/// This machine, in the words of images.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn add_layers(store: &Store, contents: &Contents, document: &[u8], layers: &[PathBuf]) -> Result<(), ImageError> {
    let parsed: Document =
        serde_json::from_slice(document).map_err(|e| invalid(format!("image configuration: {e}")))?;
    let diff_ids = parsed.rootfs.diff_ids;
    if diff_ids.len() != layers.len() {
        return Err(invalid(format!("the image has {} layers but names {}", layers.len(), diff_ids.len())));
    }
    let chain = chain_ids(&diff_ids);
    for (number, ((diff_id, chain_id), layer)) in diff_ids.iter().zip(&chain).zip(layers).enumerate() {
        if !store.has_layer(chain_id) {
            let below = chain.get(..number).unwrap_or_default();
            store.add_layer(contents.open(layer)?, diff_id, below, chain_id)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
