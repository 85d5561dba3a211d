use std::os::unix::fs::PermissionsExt;

use super::*;

/// A program that makes a manual page, as the real one does.
const PROGRAM: &str = "#!/bin/sh\ntest \"$1\" = man && echo .TH > \"$2/oxikube.1\" && echo .TH > \"$2/oxikube-up.1\"\n";

#[test]
fn a_package_has_binary_units_pages_and_documentation() {
    let work = scratch("test").unwrap();
    let binary = work.join("oxikube");
    fs::write(&binary, PROGRAM).unwrap();
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
    let package = Package { binary: &binary, project, architecture: "amd64" };
    let entries = package.entries().unwrap();

    let archive = tarball::write(&package, &entries, &work).unwrap();
    let listed = command(Command::new("tar").arg("-tvzf").arg(&archive)).unwrap();
    let base = format!("oxikube-{VERSION}");
    for wanted in ["bin/oxikube", "lib/systemd/system/oxikube.service", "share/man/man1/oxikube-up.1.gz"] {
        assert!(listed.contains(&format!("{base}/{wanted}")), "{wanted} is not in\n{listed}");
    }
    assert!(listed.contains("-rwxr-xr-x 0/0"), "{listed}");

    let deb = deb::write(&package, &entries, &work).unwrap();
    let listed = command(Command::new("dpkg-deb").arg("--contents").arg(&deb)).unwrap();
    for wanted in [
        "./usr/bin/oxikube",
        "./usr/lib/systemd/system/oxikube.service",
        "./usr/lib/systemd/system/oxikube-dns.service",
        "./usr/lib/systemd/system/oxikube-gateway.service",
        "./usr/lib/systemd/system/oxikube-node.service",
        "./usr/share/doc/oxikube/copyright",
        "./usr/share/doc/oxikube/docs/ingress.md",
        "./usr/share/doc/oxikube/examples/nginx.yaml",
        "./usr/share/man/man1/oxikube.1.gz",
        "./usr/share/oxikube/systemd/kubelet.service",
    ] {
        assert!(listed.lines().any(|line| line.ends_with(wanted)), "{wanted} is not in\n{listed}");
    }
    let fields = command(Command::new("dpkg-deb").arg("--field").arg(&deb)).unwrap();
    for field in ["Package: oxikube", &format!("Version: {VERSION}"), "Depends: nftables"] {
        assert!(fields.lines().any(|line| line == field), "{field} is not in\n{fields}");
    }
    let again = fs::read(&deb).unwrap();
    deb::write(&package, &entries, &work).unwrap();
    assert!(fs::read(&deb).unwrap() == again, "the same files give the same package");
    fs::remove_dir_all(&work).unwrap();
}

#[test]
fn a_binary_that_needs_libraries_is_not_packaged() {
    let work = scratch("linked").unwrap();
    let refused = run(Path::new("/bin/sh"), &work).unwrap_err();
    assert!(refused.contains("needs libraries of its machine"), "{refused}");
    fs::remove_dir_all(&work).unwrap();
}
