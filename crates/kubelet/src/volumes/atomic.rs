//! Writes a set of files so that a reader sees either all old or all new ones: files lie in a fresh folder, `..data`
//! points at it, and the visible names point into `..data`.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use super::payload::Payload;

const DATA: &str = "..data";

pub(super) fn write(target: &Path, payload: &Payload, group: Option<u32>) -> io::Result<()> {
    for path in payload.keys() {
        check(path)?;
    }
    let data = target.join(DATA);
    let old = std::fs::read_link(&data).ok();
    if old.is_some() && is_same(&data, payload)? {
        return Ok(());
    }
    let name = format!("..{}.{}", jiff::Timestamp::now().strftime("%Y_%m_%d_%H_%M_%S"), rand::random::<u32>());
    let fresh = target.join(&name);
    std::fs::create_dir(&fresh)?;
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755))?;
    for (path, file) in payload {
        let path = fresh.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, &file.data)?;
        let mut mode = file.mode;
        if group.is_some() {
            chown(&path, None, group)?;
            // What the owner may read, the group may.
            mode |= 0o040;
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
    }
    let next = target.join("..data_tmp");
    remove_if_there(&next)?;
    symlink(&name, &next)?;
    std::fs::rename(&next, &data)?;
    link(target, payload)?;
    if let Some(old) = old {
        std::fs::remove_dir_all(target.join(old))?;
    }
    Ok(())
}

fn check(path: &Path) -> io::Result<()> {
    let normal = path.components().all(|part| matches!(part, Component::Normal(_)));
    let hidden = first(path).is_none_or(|first| first.to_string_lossy().starts_with(".."));
    if normal && !hidden {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("invalid path {}", path.display())))
}

fn first(path: &Path) -> Option<PathBuf> {
    path.components().next().map(|part| PathBuf::from(part.as_os_str()))
}

fn is_same(data: &Path, payload: &Payload) -> io::Result<bool> {
    for (path, file) in payload {
        match std::fs::read(data.join(path)) {
            Ok(present) if present == file.data => {}
            _ => return Ok(false),
        }
    }
    let mut present = BTreeSet::new();
    collect(data, Path::new(""), &mut present)?;
    Ok(present.iter().eq(payload.keys()))
}

fn collect(root: &Path, below: &Path, files: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(root, &path, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}

/// The visible names: the first part of each path, and nothing that is no longer there.
fn link(target: &Path, payload: &Payload) -> io::Result<()> {
    let names: BTreeSet<PathBuf> = payload.keys().filter_map(|path| first(path)).collect();
    for name in &names {
        let visible = target.join(name);
        if std::fs::symlink_metadata(&visible).is_err() {
            symlink(Path::new(DATA).join(name), &visible)?;
        }
    }
    for entry in std::fs::read_dir(target)? {
        let entry = entry?;
        let name = PathBuf::from(entry.file_name());
        if !name.to_string_lossy().starts_with("..") && !names.contains(&name) {
            remove_if_there(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::File;
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |text: &str| File { data: text.as_bytes().to_vec(), mode: 0o640 };
        files.iter().map(|(path, text)| (PathBuf::from(path), file(text))).collect()
    }

    fn visible(target: &Path) -> Vec<String> {
        let names = std::fs::read_dir(target).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with("..")).collect();
        names.sort();
        names
    }

    #[test]
    fn files_change_all_at_once_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path();
        write(target, &payload(&[("a", "1"), ("d/b", "2")]), None).unwrap();
        assert_eq!(visible(target), ["a", "d"]);
        assert_eq!(std::fs::read_to_string(target.join("d/b")).unwrap(), "2");
        let mode = std::fs::metadata(target.join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let before = std::fs::read_link(target.join(DATA)).unwrap();
        write(target, &payload(&[("a", "1"), ("d/b", "2")]), None).unwrap();
        assert_eq!(std::fs::read_link(target.join(DATA)).unwrap(), before, "no change, no write");
        write(target, &payload(&[("a", "3")]), None).unwrap();
        assert_eq!(visible(target), ["a"]);
        assert_eq!(std::fs::read_to_string(target.join("a")).unwrap(), "3");
        assert!(!target.join(before).exists());
    }

    #[test]
    fn a_path_cannot_leave_the_volume() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["../a", "/a", "..data", "a/../../b"] {
            assert!(write(folder.path(), &payload(&[(path, "")]), None).is_err(), "{path}");
        }
    }
}
