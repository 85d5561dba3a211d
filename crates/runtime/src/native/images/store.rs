//! What is on disk: `index.json`, and `l/N/` with one unpacked layer each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ImageError;
use super::reference;
use super::unpack::{self, Bounds, Unpacked};

/// The image's own wishes about how it is run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct RunConfig {
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
    #[serde(deserialize_with = "or_default")]
    pub stop_signal: String,
}

/// Writers of image configurations put `null` where others leave a field out.
fn or_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

/// The part of an image's configuration document that counts here.
#[derive(Debug, Deserialize)]
pub(crate) struct Document {
    #[serde(default, deserialize_with = "or_default")]
    pub config: RunConfig,
    #[serde(default)]
    pub rootfs: RootFs,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct RootFs {
    #[serde(default)]
    pub diff_ids: Vec<String>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Digest of the configuration document.
    pub id: String,
    pub tags: BTreeSet<String>,
    pub digests: BTreeSet<String>,
    /// Chain ids, lowest layer first.
    pub layers: Vec<String>,
    pub size: u64,
    pub config: RunConfig,
    /// It came out of an archive, so that no registry gives it back.
    #[serde(default)]
    pub imported: bool,
}

/// Where an image comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Archive,
    Registry,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Layer {
    directory: u64,
    size: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Index {
    format: u32,
    next: u64,
    layers: BTreeMap<String, Layer>,
    images: BTreeMap<String, Record>,
}

/// The image store.
#[derive(Debug)]
pub(crate) struct Store {
    directory: PathBuf,
    index: Mutex<Index>,
}

/// Names a layer by everything below it, too.
pub(crate) fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    for diff_id in diff_ids {
        let id = match chain.last() {
            None => diff_id.clone(),
            Some(below) => format!("sha256:{}", hex::encode(Sha256::digest(format!("{below} {diff_id}")))),
        };
        chain.push(id);
    }
    chain
}

impl Store {
    pub(crate) fn open(directory: &Path) -> Result<Self, ImageError> {
        for name in ["l", "tmp"] {
            let path = directory.join(name);
            if name == "tmp" && path.exists() {
                fs::remove_dir_all(&path).map_err(ImageError::file("clear", &path))?;
            }
            fs::create_dir_all(&path).map_err(ImageError::file("create", &path))?;
        }
        fs::set_permissions(directory, fs::Permissions::from_mode(0o711))
            .map_err(ImageError::file("set mode of", directory))?;
        let file = directory.join("index.json");
        let index = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| ImageError::file("read", &file)(e.into()))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Index { format: 1, ..Index::default() },
            Err(e) => return Err(ImageError::file("read", &file)(e)),
        };
        let store = Self { directory: directory.to_owned(), index: Mutex::new(index) };
        store.sweep()?;
        Ok(store)
    }

    /// Removes layers that were being unpacked when the process ended.
    fn sweep(&self) -> Result<(), ImageError> {
        let known: BTreeSet<String> = self.index.lock().layers.values().map(|l| l.directory.to_string()).collect();
        let all = self.directory.join("l");
        for entry in fs::read_dir(&all).map_err(ImageError::file("list", &all))?.flatten() {
            if !known.contains(entry.file_name().to_string_lossy().as_ref()) {
                fs::remove_dir_all(entry.path()).map_err(ImageError::file("remove", entry.path()))?;
            }
        }
        Ok(())
    }

    fn save(&self, index: &Index) -> Result<(), ImageError> {
        let (file, new) = (self.directory.join("index.json"), self.directory.join("index.json.new"));
        let written = serde_json::to_vec(index).map_err(io::Error::from).and_then(|bytes| {
            use std::io::Write;
            let mut out = fs::File::create(&new)?;
            out.write_all(&bytes)?;
            out.sync_all()?;
            fs::rename(&new, &file)
        });
        written.map_err(ImageError::file("write", file))
    }

    /// A fresh directory for a download or an archive; removed when dropped.
    pub(crate) fn scratch(&self) -> Result<Scratch, ImageError> {
        let path = self.directory.join("tmp").join(uuid::Uuid::new_v4().to_string());
        fs::create_dir(&path).map_err(ImageError::file("create", &path))?;
        Ok(Scratch(path))
    }

    /// Whether a layer is there already.
    pub(crate) fn has_layer(&self, chain_id: &str) -> bool {
        self.index.lock().layers.contains_key(chain_id)
    }

    /// Unpacks one layer; its digest must be `diff_id`. Blocks.
    pub(crate) fn add_layer(
        &self,
        stream: impl Read,
        diff_id: &str,
        below: &[String],
        chain_id: &str,
    ) -> Result<(), ImageError> {
        if self.has_layer(chain_id) {
            return Ok(());
        }
        let number = {
            let mut index = self.index.lock();
            index.next += 1;
            index.next
        };
        let path = self.layer_path(number);
        fs::create_dir(&path).map_err(ImageError::file("create", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .map_err(ImageError::file("set mode of", &path))?;
        let unpacked = unpack::layer(stream, &path, Bounds::default()).and_then(|unpacked| {
            let same = unpacked.diff_id == diff_id;
            let wrong = || ImageError::Invalid(format!("a layer has digest {}, not {diff_id}", unpacked.diff_id));
            if same { Ok(unpacked) } else { Err(wrong()) }
        });
        match unpacked {
            Ok(unpacked) => {
                self.take_looks(&path, &unpacked, below);
                let mut index = self.index.lock();
                index.layers.insert(chain_id.to_owned(), Layer { directory: number, size: unpacked.size });
                self.save(&index)
            }
            Err(error) => {
                fs::remove_dir_all(&path).map_err(ImageError::file("remove", &path))?;
                Err(error)
            }
        }
    }

    /// Directories that a layer only implied look as they do in the layers below.
    fn take_looks(&self, path: &Path, unpacked: &Unpacked, below: &[String]) {
        let lower: Vec<PathBuf> = {
            let index = self.index.lock();
            below.iter().rev().filter_map(|id| index.layers.get(id)).map(|l| self.layer_path(l.directory)).collect()
        };
        for implied in &unpacked.implied {
            let found = lower.iter().find_map(|layer| fs::symlink_metadata(layer.join(implied)).ok());
            if let Some(found) = found.filter(fs::Metadata::is_dir) {
                let place = path.join(implied);
                // Not worth failing an image for.
                drop(lchown(&place, Some(found.uid()), Some(found.gid())));
                drop(fs::set_permissions(&place, found.permissions()));
            }
        }
    }

    fn layer_path(&self, number: u64) -> PathBuf {
        self.directory.join("l").join(number.to_string())
    }

    /// Records an image whose layers are all there. A tag moves from the image that had it.
    pub(crate) fn add_image(
        &self,
        document: &[u8],
        tags: impl IntoIterator<Item = String>,
        digest: Option<String>,
        origin: Origin,
    ) -> Result<String, ImageError> {
        let parsed: Document =
            serde_json::from_slice(document).map_err(|e| ImageError::Invalid(format!("image configuration: {e}")))?;
        let id = format!("sha256:{}", hex::encode(Sha256::digest(document)));
        let layers = chain_ids(&parsed.rootfs.diff_ids);
        let mut index = self.index.lock();
        let tags: BTreeSet<String> = tags.into_iter().collect();
        for other in index.images.values_mut() {
            other.tags.retain(|tag| !tags.contains(tag));
        }
        let missing = layers.iter().find(|layer| !index.layers.contains_key(*layer));
        if let Some(missing) = missing {
            return Err(ImageError::Invalid(format!("layer {missing} is not there")));
        }
        let size = layers.iter().filter_map(|id| index.layers.get(id)).map(|layer| layer.size).sum();
        let fresh = || Record {
            id: id.clone(),
            tags: BTreeSet::new(),
            digests: BTreeSet::new(),
            layers,
            size,
            config: parsed.config,
            imported: true,
        };
        let record = index.images.entry(id.clone()).or_insert_with(fresh);
        record.tags.extend(tags);
        record.digests.extend(digest);
        record.imported &= origin == Origin::Archive;
        self.save(&index)?;
        Ok(id)
    }

    /// All images.
    pub(crate) fn list(&self) -> Vec<Record> {
        self.index.lock().images.values().cloned().collect()
    }

    /// An image by id, tag or digest.
    pub(crate) fn find(&self, name: &str) -> Option<Record> {
        let index = self.index.lock();
        if let Some(record) = index.images.get(name).or_else(|| index.images.get(&format!("sha256:{name}"))) {
            return Some(record.clone());
        }
        let full = reference::normalize(name);
        // `name:tag@digest` is told by its digest.
        let by_digest = full.split_once('@').map(|(_, digest)| format!("{}@{digest}", reference::repository(&full)));
        let matches = |record: &&Record| {
            record.tags.contains(&full) || by_digest.as_ref().is_some_and(|name| record.digests.contains(name))
        };
        index.images.values().find(matches).cloned()
    }

    /// Removes a name of an image, and with its last name, or by its id, the image and the layers that no other one has.
    /// Layers in `used` (of containers) stay.
    pub(crate) fn remove(&self, name: &str, used: &BTreeSet<String>) -> Result<(), ImageError> {
        let Some(record) = self.find(name) else { return Ok(()) };
        let mut index = self.index.lock();
        let full = reference::normalize(name);
        if let Some(image) = index.images.get_mut(&record.id)
            && image.tags.len() > 1
            && image.tags.remove(&full)
        {
            return self.save(&index);
        }
        index.images.remove(&record.id);
        let needed: BTreeSet<String> = index.images.values().flat_map(|image| image.layers.clone()).collect();
        let gone: Vec<String> =
            index.layers.keys().filter(|id| !needed.contains(*id) && !used.contains(*id)).cloned().collect();
        let layers: Vec<Layer> = gone.iter().filter_map(|id| index.layers.remove(id)).collect();
        self.save(&index)?;
        drop(index);
        for layer in layers {
            let path = self.layer_path(layer.directory);
            fs::remove_dir_all(&path).map_err(ImageError::file("remove", &path))?;
        }
        Ok(())
    }

    /// Directories of an image's layers, topmost first, for an overlay.
    pub(crate) fn lower(&self, record: &Record) -> Result<Vec<PathBuf>, ImageError> {
        let index = self.index.lock();
        let missing = |id: &String| ImageError::Invalid(format!("layer {id} is not there"));
        let directory =
            |id: &String| index.layers.get(id).ok_or_else(|| missing(id)).map(|l| self.layer_path(l.directory));
        record.layers.iter().rev().map(directory).collect()
    }

    /// Bytes of all layers.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.index.lock().layers.values().map(|layer| layer.size).sum()
    }

    /// Where it lies.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// A directory that goes when it is no longer needed.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a temporary directory stayed behind");
        }
    }
}
