//! Mounting and unmounting.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::{Result, SysError};

const NONE: Option<&str> = None;

/// Binds a file or directory to another place.
pub fn bind(source: &Path, target: &Path) -> Result<()> {
    mount(Some(source), target, NONE, MsFlags::MS_BIND, NONE).map_err(|e| SysError::at("bind mount", target, e))
}

/// Binds a tree with everything mounted below it.
pub fn bind_recursive(source: &Path, target: &Path) -> Result<()> {
    mount(Some(source), target, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
        .map_err(|e| SysError::at("bind mount", target, e))
}

/// Mounts memory of at most `bytes` (none: the kernel's default).
pub fn tmpfs(target: &Path, mode: u32, bytes: Option<u64>) -> Result<()> {
    let mut data = format!("mode={mode:o}");
    if let Some(bytes) = bytes {
        data.push_str(&format!(",size={bytes}"));
    }
    mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(data.as_str()))
        .map_err(|e| SysError::at("mount tmpfs on", target, e))
}

/// Mounts a stack of read-only directories (topmost first) under a writable one, which is not synced to disk: what
/// is written there does not outlive the machine's run.
pub fn overlay(lower: &[PathBuf], upper: &Path, work: &Path, target: &Path) -> Result<()> {
    let lower = lower.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(":");
    let data = format!("lowerdir={lower},upperdir={},workdir={}", upper.display(), work.display());
    if data.len() >= 4096 {
        let cause = io::Error::new(io::ErrorKind::InvalidInput, "too many layers for one overlay mount");
        return Err(SysError::at("mount overlay on", target, cause));
    }
    let try_mount = |data: &str| mount(Some("overlay"), target, Some("overlay"), MsFlags::empty(), Some(data));
    let mounted = match try_mount(&format!("{data},volatile")) {
        // A kernel that does not know the option.
        Err(Errno::EINVAL) => try_mount(&data),
        other => other,
    };
    mounted.map_err(|e| SysError::at("mount overlay on", target, e))
}

/// Takes a mount away, also when it is in use. Nothing mounted there is success.
pub fn unmount(target: &Path) -> Result<()> {
    match umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(e) => Err(SysError::at("unmount", target, e)),
    }
}

/// Every mount point at or below `root`, deepest first.
pub fn below(root: &Path) -> Result<Vec<PathBuf>> {
    let table = fs::read_to_string("/proc/self/mountinfo").map_err(|e| SysError::at("read mounts of", root, e))?;
    let mut found: Vec<_> = points(&table).filter(|point| point.starts_with(root)).collect();
    found.reverse();
    Ok(found)
}

/// Unmounts everything at or below `root`.
pub fn unmount_below(root: &Path) -> Result<()> {
    below(root)?.iter().try_for_each(|point| unmount(point))
}

/// Unmounts everything below `root`, but not `root`, which may be somebody's disk.
pub fn unmount_inside(root: &Path) -> Result<()> {
    below(root)?.iter().filter(|point| *point != root).try_for_each(|point| unmount(point))
}

/// Mount points in a `mountinfo` table, in the order mounted.
fn points(table: &str) -> impl Iterator<Item = PathBuf> + '_ {
    table.lines().filter_map(|line| line.split(' ').nth(4)).map(|escaped| PathBuf::from(unescape(escaped)))
}

/// Undoes the kernel's octal escapes (`\040` is a space).
fn unescape(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|octal| u8::from_str_radix(octal, 8).ok()) {
            Some(byte) => {
                plain.push(char::from(byte));
                plain.push_str(part.get(3..).unwrap_or_default());
            }
            None => plain.push_str(part),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_spaces() {
        let table =
            "36 35 98:0 / /mnt/a\\040b rw,noatime master:1 - ext3 /dev/root rw\n40 35 0:1 / /x rw - tmpfs t rw\n";
        assert_eq!(points(table).collect::<Vec<_>>(), [PathBuf::from("/mnt/a b"), PathBuf::from("/x")]);
    }

    #[test]
    fn unmounting_nothing_succeeds() {
        let dir = std::env::temp_dir();
        unmount(&dir.join("there-is-no-such-directory")).unwrap();
    }
}
