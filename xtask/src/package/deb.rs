//! The package for Debian, by `dpkg-deb`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Entry, Package, VERSION, command, said, scratch};

/// What is called at run time.
const PROGRAMS: &str = "nftables";
/// Scripts of the package, below `packaging/debian`.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Writes `oxikube_VERSION_ARCH.deb`.
pub(super) fn write(package: &Package<'_>, entries: &[Entry], out: &Path) -> Result<PathBuf, String> {
    let root = scratch("deb")?;
    let put = |path: PathBuf, mode: u32, bytes: &[u8]| {
        let folder = path.parent().unwrap_or(&root);
        let written = fs::create_dir_all(folder).and_then(|()| fs::write(&path, bytes));
        written.and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode))).map_err(|e| said(&path, &e))
    };
    let mut size = 0;
    for entry in entries {
        let bytes = entry.bytes()?;
        size += bytes.len();
        put(root.join("usr").join(&entry.path), entry.mode, &bytes)?;
    }
    for script in SCRIPTS {
        let from = package.project.join("packaging/debian").join(script);
        put(root.join("DEBIAN").join(script), 0o755, &fs::read(&from).map_err(|e| said(&from, &e))?)?;
    }
    let control = control(package.architecture, size.div_ceil(1024));
    put(root.join("DEBIAN/control"), 0o644, control.as_bytes())?;
    let path = out.join(format!("oxikube_{VERSION}_{}.deb", package.architecture));
    let mut build = Command::new("dpkg-deb");
    // The same files give the same package.
    build.env("SOURCE_DATE_EPOCH", "0").args(["--root-owner-group", "--build"]).arg(&root).arg(&path);
    command(&mut build)?;
    fs::remove_dir_all(&root).map_err(|e| said(&root, &e))?;
    Ok(path)
}

fn control(architecture: &str, kilobytes: usize) -> String {
    format!(
        "Package: oxikube\n\
         Version: {VERSION}\n\
         Architecture: {architecture}\n\
         Maintainer: The oxikube project <oxikube@oxikube.invalid>\n\
         Section: admin\n\
         Priority: optional\n\
         Installed-Size: {kilobytes}\n\
         Depends: {PROGRAMS}\n\
         Description: Kubernetes in one binary\n \
         API server, scheduler, controllers, kubelet, container engine, service proxy,\n \
         gateway, DNS and the state store of a Kubernetes cluster, as one process or\n \
         each as its own.\n"
    )
}
