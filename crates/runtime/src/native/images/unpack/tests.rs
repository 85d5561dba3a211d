use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::*;

enum Kind<'a> {
    File(&'a str),
    Dir(u32),
    Symlink(&'a str),
    Hardlink(&'a str),
}

/// A layer of these entries. Names go in as they are, however hostile.
fn tar(entries: &[(&str, Kind<'_>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, kind) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        let (entry, content, link) = match kind {
            Kind::File(content) => (EntryType::Regular, *content, ""),
            Kind::Dir(mode) => {
                header.set_mode(*mode);
                (EntryType::Directory, "", "")
            }
            Kind::Symlink(to) => (EntryType::Symlink, "", *to),
            Kind::Hardlink(to) => (EntryType::Link, "", *to),
        };
        header.set_entry_type(entry);
        header.set_size(content.len() as u64);
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        archive.append(&header, content.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

fn unpack(entries: &[(&str, Kind<'_>)]) -> (tempfile::TempDir, Result<Unpacked, ImageError>) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let done = layer(tar(entries).as_slice(), &root, Bounds::default());
    (dir, done)
}

#[test]
fn files_arrive_with_their_looks() {
    let (dir, done) = unpack(&[
        ("d/", Kind::Dir(0o1777)),
        ("d/f", Kind::File("text")),
        ("d/l", Kind::Symlink("/etc/passwd")),
        ("d/h", Kind::Hardlink("d/f")),
        ("implied/f", Kind::File("")),
    ]);
    let root = dir.path().join("root");
    assert_eq!(fs::metadata(root.join("d")).unwrap().mode() & 0o7777, 0o1777);
    assert_eq!(fs::read_to_string(root.join("d/h")).unwrap(), "text");
    assert_eq!(fs::read_link(root.join("d/l")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(done.unwrap().implied, [Path::new("implied")]);
}

#[test]
fn whiteouts_become_overlays_own() {
    let (dir, done) = unpack(&[("d/.wh.gone", Kind::File("")), ("d/.wh..wh..opq", Kind::File(""))]);
    done.unwrap();
    let gone = fs::symlink_metadata(dir.path().join("root/d/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
}

#[test]
fn nothing_leaves_the_layer() {
    let hostile: [&[(&str, Kind<'_>)]; 6] = [
        &[("../escaped", Kind::File("x"))],
        &[("a/../../escaped", Kind::File("x"))],
        &[("link", Kind::Symlink("..")), ("link/escaped", Kind::File("x"))],
        &[("link", Kind::Symlink("/tmp")), ("link/escaped", Kind::File("x"))],
        &[("h", Kind::Hardlink("../../escaped"))],
        &[("link", Kind::Symlink("..")), ("h", Kind::Hardlink("link/outside"))],
    ];
    for entries in hostile {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(dir.path().join("outside"), "secret").unwrap();
        assert!(layer(tar(entries).as_slice(), &root, Bounds::default()).is_err());
        assert!(!dir.path().join("escaped").exists() && !Path::new("/tmp/escaped").exists());
    }
    let (dir, done) = unpack(&[("/absolute", Kind::File("x"))]);
    done.unwrap();
    assert!(dir.path().join("root/absolute").exists());
}

#[test]
fn a_file_does_not_follow_an_earlier_symlink() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    fs::create_dir(&root).unwrap();
    fs::write(&outside, "kept").unwrap();
    let entries = [("f", Kind::Symlink("../outside")), ("f", Kind::File("overwritten"))];
    layer(tar(&entries).as_slice(), &root, Bounds::default()).unwrap();
    assert_eq!(fs::read_to_string(outside).unwrap(), "kept");
}

#[test]
fn bounds_hold() {
    let entries = [("a", Kind::File("0123456789")), ("b", Kind::File(""))];
    for bounds in [Bounds { bytes: 1024, entries: 10 }, Bounds { bytes: 1 << 20, entries: 1 }] {
        let dir = tempfile::tempdir().unwrap();
        assert!(layer(tar(&entries).as_slice(), dir.path(), bounds).is_err());
    }
}

#[test]
fn compression_is_seen_through() {
    use std::io::Write;
    let plain = tar(&[("f", Kind::File("x"))]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let forms = [plain.clone(), gzip.finish().unwrap(), zstd::encode_all(plain.as_slice(), 0).unwrap()];
    let diff_ids = forms.map(|form| {
        let dir = tempfile::tempdir().unwrap();
        layer(form.as_slice(), dir.path(), Bounds::default()).unwrap().diff_id
    });
    assert!(diff_ids.iter().all(|id| *id == format!("sha256:{}", hex::encode(Sha256::digest(&plain)))));
}
