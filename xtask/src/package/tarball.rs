//! The tar archive: unpack it below `/usr` or `/usr/local`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Entry, Package, VERSION, said};

/// Writes `oxikube-VERSION-linux-ARCH.tar.gz`.
pub(super) fn write(package: &Package<'_>, entries: &[Entry], out: &Path) -> Result<PathBuf, String> {
    let name = format!("oxikube-{VERSION}");
    let path = out.join(format!("{name}-linux-{}.tar.gz", package.architecture));
    let file = File::create(&path).map_err(|e| said(&path, &e))?;
    let encoder = flate2::GzBuilder::new().mtime(0).write(file, flate2::Compression::default());
    let mut tar = tar::Builder::new(encoder);
    for entry in entries {
        let bytes = entry.bytes()?;
        let mut header = tar::Header::new_gnu();
        header.set_mode(entry.mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(bytes.len() as u64);
        let added = tar.append_data(&mut header, format!("{name}/{}", entry.path), bytes.as_slice());
        added.map_err(|e| said(&path, &e))?;
    }
    let finished = tar.into_inner().and_then(flate2::write::GzEncoder::finish).and_then(|mut file| file.flush());
    finished.map_err(|e| said(&path, &e))?;
    Ok(path)
}
