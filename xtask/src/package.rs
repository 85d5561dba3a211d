//! Packages of the binary: a tar archive, and one for Debian. The same tree of files in both, below `/usr`.

mod deb;
mod tarball;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A file of the package.
struct Entry {
    /// Below `/usr`.
    path: String,
    mode: u32,
    content: Content,
}

enum Content {
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// What is packaged, and where the rest of the project is.
struct Package<'a> {
    binary: &'a Path,
    project: PathBuf,
    /// As Debian calls it.
    architecture: &'static str,
}

/// Packages a static binary into a folder.
pub(crate) fn run(binary: &Path, out: &Path) -> Result<(), String> {
    if command(Command::new("readelf").arg("--program-headers").arg(binary))?.contains("INTERP") {
        return Err(format!(
            "{} needs libraries of its machine; 'make package' builds one that does not",
            binary.display()
        ));
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => return Err(format!("packages for {other} are not made")),
    };
    let package = Package { binary, project: here.parent().unwrap_or(here).to_owned(), architecture };
    fs::create_dir_all(out).map_err(|e| said(out, &e))?;
    let entries = package.entries()?;
    println!("package: {}", tarball::write(&package, &entries, out)?.display());
    println!("package: {}", deb::write(&package, &entries, out)?.display());
    Ok(())
}

impl Package<'_> {
    /// Everything that is installed, sorted.
    fn entries(&self) -> Result<Vec<Entry>, String> {
        let file =
            |path: &str, mode, from: PathBuf| Entry { path: path.to_owned(), mode, content: Content::File(from) };
        let mut entries = vec![file("bin/oxikube", 0o755, self.binary.to_owned())];
        for (name, unit) in self.folder("packaging/systemd")? {
            let text = fs::read_to_string(&unit).map_err(|e| said(&unit, &e))?;
            // Units that want upstream's names, which may belong to upstream's packages, are for copying.
            let own = text.contains("ExecStart=/usr/bin/oxikube ");
            let folder = if own { "lib/systemd/system" } else { "share/oxikube/systemd" };
            entries.push(file(&format!("{folder}/{name}"), 0o644, unit));
        }
        for (name, page) in self.manual()? {
            let content = Content::Bytes(compressed(&page)?);
            entries.push(Entry { path: format!("share/man/man1/{name}.gz"), mode: 0o644, content });
        }
        let doc = |name: &str| format!("share/doc/oxikube/{name}");
        for name in ["README.md", "CHANGELOG.md", "SPECIFICATION.md", "LICENSE"] {
            entries.push(file(&doc(name), 0o644, self.project.join(name)));
        }
        entries.push(file(&doc("copyright"), 0o644, self.project.join("packaging/debian/copyright")));
        entries.push(file(&doc("examples/nginx.yaml"), 0o644, self.project.join("examples/nginx.yaml")));
        for (name, page) in self.folder("docs")?.into_iter().filter(|(name, _)| name.ends_with(".md")) {
            entries.push(file(&doc(&format!("docs/{name}")), 0o644, page));
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// Names and paths of the files of a folder of the project.
    fn folder(&self, name: &str) -> Result<Vec<(String, PathBuf)>, String> {
        files(&self.project.join(name))
    }

    /// The pages that the binary makes of itself.
    fn manual(&self) -> Result<Vec<(String, Vec<u8>)>, String> {
        let pages = scratch("man")?;
        command(Command::new(self.binary).arg("man").arg(&pages))?;
        let mut manual = Vec::new();
        for (name, path) in files(&pages)? {
            manual.push((name, fs::read(&path).map_err(|e| said(&path, &e))?));
        }
        fs::remove_dir_all(&pages).map_err(|e| said(&pages, &e))?;
        Ok(manual)
    }
}

impl Entry {
    fn bytes(&self) -> Result<Vec<u8>, String> {
        match &self.content {
            Content::Bytes(bytes) => Ok(bytes.clone()),
            Content::File(path) => fs::read(path).map_err(|e| said(path, &e)),
        }
    }
}

fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let entries = fs::read_dir(folder).map_err(|e| said(folder, &e))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| said(folder, &e))?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            found.push((name.to_string_lossy().into_owned(), path.clone()));
        }
    }
    found.sort();
    Ok(found)
}

/// An empty folder for work in between.
fn scratch(name: &str) -> Result<PathBuf, String> {
    let path = std::env::temp_dir().join(format!("oxikube-package-{}-{name}", std::process::id()));
    if path.exists() {
        fs::remove_dir_all(&path).map_err(|e| said(&path, &e))?;
    }
    fs::create_dir_all(&path).map_err(|e| said(&path, &e))?;
    Ok(path)
}

/// The same bytes give the same bytes: no time, no name.
fn compressed(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut encoder = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).map_err(|e| e.to_string())
}

fn command(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn said(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
