//! A part of a volume. The part is opened without leaving the volume, whatever symbolic links a container put there,
//! and bound to a place of its own, so that what was checked is what is mounted.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};

use super::mount;

/// Answers the path to mount.
pub(crate) fn prepare(volume: &Path, sub_path: &str, place: &Path) -> Result<PathBuf, String> {
    let relative = Path::new(sub_path);
    if relative.components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(format!("subPath {sub_path:?} must be a relative path without '..'"));
    }
    let failed = |error: nix::Error| format!("failed to prepare subPath {sub_path:?}: {error}");
    let root = open_root(volume).map_err(failed)?;
    let target = open_or_create(&root, relative).map_err(failed)?;
    let source = PathBuf::from(format!("/proc/self/fd/{}", target.as_raw_fd()));
    let text = |error: std::io::Error| format!("failed to prepare subPath {sub_path:?}: {error}");
    let is_dir = std::fs::metadata(&source).map_err(text)?.is_dir();
    if let Some(parent) = place.parent() {
        std::fs::create_dir_all(parent).map_err(text)?;
    }
    if !place.exists() {
        if is_dir {
            std::fs::create_dir(place).map_err(text)?;
        } else {
            std::fs::File::create(place).map_err(text)?;
        }
        mount::bind(&source, place).map_err(text)?;
    }
    Ok(place.to_owned())
}

fn open_root(path: &Path) -> nix::Result<OwnedFd> {
    nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
}

fn beneath(root: &OwnedFd, path: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, path, how)
}

fn open_or_create(root: &OwnedFd, path: &Path) -> nix::Result<OwnedFd> {
    match beneath(root, path) {
        Err(nix::errno::Errno::ENOENT) => {}
        other => return other,
    }
    let mut so_far = PathBuf::new();
    for part in path.components() {
        let parent = if so_far.as_os_str().is_empty() { root.try_clone() } else { beneath(root, &so_far).map(Ok)? };
        let parent = parent.map_err(|_| nix::errno::Errno::EMFILE)?;
        match mkdirat(&parent, part.as_os_str(), Mode::from_bits_truncate(0o750)) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(error) => return Err(error),
        }
        so_far.push(part);
    }
    beneath(root, path)
}
