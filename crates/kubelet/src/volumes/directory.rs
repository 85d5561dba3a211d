//! Folders of volumes.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;

use k8s_openapi::api::core::v1::EmptyDirVolumeSource;

use super::mount;
use crate::quantity;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

pub(super) fn empty_dir(path: &Path, source: &EmptyDirVolumeSource, group: Option<u32>) -> Result<(), String> {
    let fresh = !path.exists();
    std::fs::create_dir_all(path).map_err(text)?;
    if source.medium.as_deref() == Some("Memory") && !mount::is_mount_point(path).map_err(text)? {
        let limit = source.size_limit.as_ref().and_then(quantity::value).filter(|limit| *limit > 0);
        mount::tmpfs(path, limit).map_err(text)?;
    }
    if fresh {
        let mode = source.mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o777);
        let mode = if group.is_some() { mode | 0o2070 } else { mode };
        if group.is_some() {
            chown(path, None, group).map_err(text)?;
        }
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(text)?;
    }
    Ok(())
}

/// A folder for files made of API objects.
pub(super) fn payload_dir(path: &Path, in_memory: bool) -> Result<(), String> {
    std::fs::create_dir_all(path).map_err(text)?;
    if in_memory && !mount::is_mount_point(path).map_err(text)? {
        mount::tmpfs(path, None).map_err(text)?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(text)
}

/// Checks what a `hostPath` asks for, and makes what it says is to be made.
pub(super) fn host_path(path: &Path, check: &str) -> Result<(), String> {
    let there = std::fs::metadata(path).ok().map(|meta| meta.file_type());
    let wrong = |what: &str| Err(format!("hostPath type check failed: {} is not {what}", path.display()));
    match (check, there) {
        ("", Some(_)) => Ok(()),
        // As with a bind mount of what is not there: a folder.
        ("", None) => std::fs::create_dir_all(path).map_err(text),
        ("DirectoryOrCreate", None) => {
            std::fs::create_dir_all(path).map_err(text)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(text)
        }
        ("FileOrCreate", None) => std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|file| file.set_permissions(std::fs::Permissions::from_mode(0o644)))
            .map_err(text),
        ("DirectoryOrCreate" | "Directory", Some(kind)) if kind.is_dir() => Ok(()),
        ("FileOrCreate" | "File", Some(kind)) if kind.is_file() => Ok(()),
        ("Socket", Some(kind)) if kind.is_socket() => Ok(()),
        ("CharDevice", Some(kind)) if kind.is_char_device() => Ok(()),
        ("BlockDevice", Some(kind)) if kind.is_block_device() => Ok(()),
        ("DirectoryOrCreate" | "Directory", _) => wrong("a directory"),
        ("FileOrCreate" | "File", _) => wrong("a file"),
        ("Socket", _) => wrong("a socket file"),
        ("CharDevice", _) => wrong("a character device"),
        ("BlockDevice", _) => wrong("a block device"),
        (other, _) => Err(format!("hostPath type {other:?} is not known")),
    }
}

/// The folder of a volume that is kept on this node. Whatever user the pod runs as may write to it.
pub(super) fn local_path(path: &Path) -> Result<(), String> {
    if path.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(path).map_err(text)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).map_err(text)
}

/// Files of a volume belong to the pod's group, which may read and write them; new ones do so by themselves.
pub(super) fn give_to(path: &Path, group: u32, only_if_root_differs: bool) -> Result<(), String> {
    let meta = std::fs::symlink_metadata(path).map_err(text)?;
    if only_if_root_differs && meta.gid() == group && meta.mode() & 0o2770 == 0o2770 {
        return Ok(());
    }
    if meta.is_dir() {
        // Its content first: the root says whether all of it is done.
        for entry in std::fs::read_dir(path).map_err(text)? {
            give_to(&entry.map_err(text)?.path(), group, false)?;
        }
    }
    std::os::unix::fs::lchown(path, None, Some(group)).map_err(text)?;
    if meta.is_symlink() {
        return Ok(());
    }
    let more = if meta.is_dir() { 0o2770 } else { 0o660 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(meta.mode() & 0o7777 | more)).map_err(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_gets_all_files_and_those_to_come() {
        let root = tempfile::tempdir().unwrap();
        let (folder, file) = (root.path().join("d"), root.path().join("d/f"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink("/nowhere", folder.join("link")).unwrap();
        // The group that it has already: others can be given only by root.
        let group = std::fs::metadata(&file).unwrap().gid();
        give_to(root.path(), group, false).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&folder) & 0o2770, mode(&file) & 0o660), (0o2770, 0o660));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        give_to(root.path(), group, true).unwrap();
        assert_eq!(mode(&file), 0o600, "the root says that it is done");
    }
}
