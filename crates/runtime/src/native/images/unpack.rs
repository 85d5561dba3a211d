//! One layer's tar stream into a directory, the way overlayfs wants it. Everything in it is untrusted.

use std::fs::{self, File, Permissions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Component, Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use sha2::{Digest, Sha256};
use tar::{Archive, Entry, EntryType};

use super::ImageError;

/// Bounds on what one layer may bring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub bytes: u64,
    pub entries: u64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: 64 << 30, entries: 2_000_000 }
    }
}

/// What was unpacked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Digest of the uncompressed stream.
    pub diff_id: String,
    /// Bytes of files.
    pub size: u64,
    /// Directories that the layer used without naming them: they take their looks from the layer below.
    pub implied: Vec<PathBuf>,
}

/// A stream as it is, or uncompressed from gzip or zstd.
pub(crate) fn decompress<'a>(stream: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut stream = BufReader::with_capacity(128 * 1024, stream);
    let magic: Vec<u8> = std::io::BufRead::fill_buf(&mut stream)?.iter().take(4).copied().collect();
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(stream)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::with_buffer(stream)?),
        _ => Box::new(stream),
    })
}

/// Adds up the digest and the size of what passes; refuses more than the bound.
struct Metered<R> {
    inner: R,
    digest: Sha256,
    left: u64,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or_else(|| io::Error::other("the layer is too large"))?;
        self.digest.update(buffer.get(..n).unwrap_or_default());
        Ok(n)
    }
}

/// Unpacks a layer into an empty directory.
pub(crate) fn layer(stream: impl Read, into: &Path, bounds: Bounds) -> Result<Unpacked, ImageError> {
    let stream = decompress(stream).map_err(ImageError::file("uncompress a layer for", into))?;
    let metered = Metered { inner: stream, digest: Sha256::new(), left: bounds.bytes };
    let mut archive = Archive::new(metered);
    let mut target = Target { root: into.to_owned(), parent: None, implied: Vec::new(), size: 0, times: Vec::new() };
    let entries = archive.entries().map_err(ImageError::file("read a layer for", into))?;
    for (count, entry) in entries.enumerate() {
        if count as u64 >= bounds.entries {
            return Err(ImageError::Invalid("the layer has too many entries".to_owned()));
        }
        let mut entry = entry.map_err(ImageError::file("read a layer for", into))?;
        let path = entry.path().map_err(ImageError::file("read a layer for", into))?.into_owned();
        target.entry(&mut entry, &path)?;
    }
    target.finish();
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(ImageError::file("read a layer for", into))?;
    let diff_id = format!("sha256:{}", hex::encode(rest.digest.finalize()));
    Ok(Unpacked { diff_id, size: target.size, implied: target.implied })
}

struct Target {
    root: PathBuf,
    /// The parent that was checked last: entries of a directory come together.
    parent: Option<PathBuf>,
    implied: Vec<PathBuf>,
    size: u64,
    /// Directories get their times last, as filling them changes it.
    times: Vec<(PathBuf, i64)>,
}

/// A path inside the layer, free of `..` and a leading `/`; none for the root itself.
fn inside(path: &Path) -> Result<PathBuf, ImageError> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(ImageError::Invalid(format!("the layer reaches outside of itself: {}", path.display())));
            }
        }
    }
    Ok(clean)
}

impl Target {
    fn entry(&mut self, entry: &mut Entry<'_, impl Read>, path: &Path) -> Result<(), ImageError> {
        if matches!(entry.header().entry_type(), EntryType::XGlobalHeader) {
            return Ok(());
        }
        let relative = inside(path)?;
        let Some(name) = relative.file_name().map(|name| name.to_string_lossy().into_owned()) else {
            return self.finish_entry(entry, &self.root.clone());
        };
        let parent = relative.parent().map(Path::to_path_buf).unwrap_or_default();
        self.check_parent(&parent)?;
        let place = self.root.join(&relative);
        if name == ".wh..wh..opq" {
            let parent = self.root.join(&parent);
            return sys::xattr::set(&parent, "trusted.overlay.opaque", b"y")
                .map_err(|e| ImageError::Invalid(format!("cannot mark a directory opaque: {e}")));
        }
        if let Some(hidden) = name.strip_prefix(".wh.") {
            let hidden = self.root.join(&parent).join(hidden);
            clear(&hidden)?;
            return node(&hidden, SFlag::S_IFCHR, 0, 0);
        }
        self.create(entry, &place)?;
        self.finish_entry(entry, &place)
    }

    /// Every part of `parent` is a real directory, made where it is missing. A symlink would lead elsewhere.
    fn check_parent(&mut self, parent: &Path) -> Result<(), ImageError> {
        if self.parent.as_deref() == Some(parent) {
            return Ok(());
        }
        let mut place = self.root.clone();
        for part in parent.components() {
            place.push(part);
            match fs::symlink_metadata(&place) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => {
                    let shown = parent.display();
                    return Err(ImageError::Invalid(format!(
                        "the layer puts a file below {shown}, which is no directory"
                    )));
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    fs::create_dir(&place).map_err(ImageError::file("create", &place))?;
                    fs::set_permissions(&place, Permissions::from_mode(0o755))
                        .map_err(ImageError::file("set mode of", &place))?;
                    self.implied.extend(place.strip_prefix(&self.root).ok().map(Path::to_path_buf));
                }
                Err(e) => return Err(ImageError::file("look at", &place)(e)),
            }
        }
        self.parent = Some(parent.to_owned());
        Ok(())
    }

    fn create(&mut self, entry: &mut Entry<'_, impl Read>, place: &Path) -> Result<(), ImageError> {
        let kind = entry.header().entry_type();
        if kind == EntryType::Directory {
            if !fs::symlink_metadata(place).is_ok_and(|found| found.is_dir()) {
                clear(place)?;
                fs::create_dir(place).map_err(ImageError::file("create", place))?;
            }
            self.implied.retain(|implied| self.root.join(implied) != place);
            return Ok(());
        }
        clear(place)?;
        self.parent = None;
        let link = || -> Result<PathBuf, ImageError> {
            let name = entry.link_name().map_err(ImageError::file("read a link of", place))?;
            Ok(name.ok_or_else(|| ImageError::Invalid("a link to nowhere".to_owned()))?.into_owned())
        };
        let device = |number: io::Result<Option<u32>>| number.ok().flatten().unwrap_or_default();
        match kind {
            EntryType::Symlink => symlink(link()?, place).map_err(ImageError::file("link", place)),
            EntryType::Link => {
                let to = inside(&link()?)?;
                self.check_parent(to.parent().unwrap_or(Path::new("")))?;
                fs::hard_link(self.root.join(to), place).map_err(ImageError::file("link", place))
            }
            EntryType::Char | EntryType::Block => {
                let flag = if kind == EntryType::Char { SFlag::S_IFCHR } else { SFlag::S_IFBLK };
                let header = entry.header();
                node(place, flag, device(header.device_major()), device(header.device_minor()))
            }
            EntryType::Fifo => node(place, SFlag::S_IFIFO, 0, 0),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let mut file = File::create_new(place).map_err(ImageError::file("create", place))?;
                self.size += io::copy(entry, &mut file).map_err(ImageError::file("write", place))?;
                Ok(())
            }
            other => Err(ImageError::Invalid(format!("{}: unknown entry type {other:?}", place.display()))),
        }
    }

    /// Owner, mode, attributes, time.
    fn finish_entry(&mut self, entry: &mut Entry<'_, impl Read>, place: &Path) -> Result<(), ImageError> {
        let header = entry.header();
        let kind = header.entry_type();
        if kind == EntryType::Link {
            return Ok(());
        }
        let id = |number: io::Result<u64>| number.ok().and_then(|n| u32::try_from(n).ok()).unwrap_or_default();
        let (uid, gid) = (id(header.uid()), id(header.gid()));
        let mode = header.mode().unwrap_or(0o755) & 0o7777;
        let time = i64::try_from(header.mtime().unwrap_or_default()).unwrap_or_default();
        lchown(place, Some(uid), Some(gid)).map_err(ImageError::file("set owner of", place))?;
        if kind != EntryType::Symlink {
            fs::set_permissions(place, Permissions::from_mode(mode)).map_err(ImageError::file("set mode of", place))?;
        }
        for extension in entry.pax_extensions().ok().flatten().into_iter().flatten().flatten() {
            let name = extension.key().ok().and_then(|key| key.strip_prefix("SCHILY.xattr."));
            // An attribute that this file system does not take (a foreign security label) is left out.
            if let Some(name) = name.filter(|name| !name.starts_with("trusted.overlay.")) {
                drop(sys::xattr::set(place, name, extension.value_bytes()));
            }
        }
        self.times.push((place.to_owned(), time));
        if kind != EntryType::Directory {
            self.times.pop();
            set_time(place, time);
        }
        Ok(())
    }

    fn finish(&mut self) {
        for (place, time) in self.times.drain(..).rev() {
            set_time(&place, time);
        }
    }
}

/// Times are nice to have: a file system that refuses one loses it.
fn set_time(place: &Path, seconds: i64) {
    use nix::sys::stat::{UtimensatFlags, utimensat};
    use nix::sys::time::TimeSpec;
    let time = TimeSpec::new(seconds, 0);
    utimensat(nix::fcntl::AT_FDCWD, place, &time, &time, UtimensatFlags::NoFollowSymlink).unwrap_or_default();
}

/// A later entry of the same name replaces an earlier one.
fn clear(place: &Path) -> Result<(), ImageError> {
    match fs::symlink_metadata(place) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(place).map_err(ImageError::file("replace", place)),
        Ok(_) => fs::remove_file(place).map_err(ImageError::file("replace", place)),
        Err(_) => Ok(()),
    }
}

fn node(place: &Path, kind: SFlag, major: u32, minor: u32) -> Result<(), ImageError> {
    let made = mknod(place, kind, Mode::from_bits_truncate(0o600), makedev(major.into(), minor.into()));
    made.map_err(|e| ImageError::file("make node", place)(e.into()))
}

#[cfg(test)]
mod tests;
