//! Leads an engine of others to this node's pod network: the plugin's binary, and its configuration.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use cri::client::CniSettings;
use ipnet::Ipv4Net;

use crate::problem::{During, Problem};

/// Names that an engine finds the plugin under. The second it asks for beside every network.
const NAMES: [&str; 2] = ["oxikube", "loopback"];

/// The plugin as the engine sees it.
#[derive(Debug, Clone)]
pub(crate) struct Plugin {
    binaries: PathBuf,
    configurations: PathBuf,
    program: PathBuf,
    network: podnet::Config,
}

impl Plugin {
    pub(crate) fn new(folders: CniSettings, program: PathBuf, network: podnet::Config) -> Self {
        let or = |path: PathBuf, usual: &str| if path.as_os_str().is_empty() { usual.into() } else { path };
        Self {
            binaries: or(folders.bin_dir, "/opt/cni/bin"),
            configurations: or(folders.conf_dir, "/etc/cni/net.d"),
            program,
            network,
        }
    }

    fn configuration(&self) -> PathBuf {
        self.configurations.join(format!("10-{}.conflist", self.network.instance))
    }

    /// Another network's configuration that the engine would take before this one.
    fn foreign(&self) -> Option<PathBuf> {
        let own = self.configuration();
        let entries = fs::read_dir(&self.configurations).ok()?.flatten().map(|entry| entry.path());
        let known = ["conflist", "conf", "json"];
        let mut others: Vec<PathBuf> = entries
            .filter(|path| path.extension().is_some_and(|e| known.iter().any(|k| e == *k)) && *path < own)
            .collect();
        others.sort();
        others.into_iter().next()
    }

    /// Puts the plugin where the engine looks for it.
    pub(crate) fn install(&self) -> Result<(), Problem> {
        let failed = || format!("cannot put the network plugin into {}", self.binaries.display());
        fs::create_dir_all(&self.binaries).during(failed())?;
        for name in NAMES {
            let link = self.binaries.join(name);
            match fs::read_link(&link) {
                Ok(to) if to == self.program => continue,
                Ok(_) if name == "oxikube" || !link.exists() => fs::remove_file(&link).during(failed())?,
                // Somebody else's: it does the same.
                Ok(_) => continue,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(_) => continue,
            }
            symlink(&self.program, &link).during(failed())?;
        }
        Ok(())
    }

    /// Tells the engine of the network, as soon as the node has a range. Blocks.
    pub(crate) fn configure(&self, pod_cidr: Ipv4Net) -> io::Result<()> {
        if let Some(other) = self.foreign() {
            tracing::warn!(configuration = %other.display(), "another pod network comes first; it is left in place");
        }
        fs::create_dir_all(&self.configurations)?;
        let (path, text) = (self.configuration(), podnet::plugin::conflist(&self.network, pod_cidr));
        if fs::read_to_string(&path).is_ok_and(|present| present == text) {
            return Ok(());
        }
        let new = path.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(new, path)
    }

    /// Takes away what was put there.
    pub(crate) fn remove(&self) -> Result<(), Problem> {
        let removed = |path: &Path| match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        };
        let own = self.configuration();
        removed(&own).during(format!("cannot remove {}", own.display()))?;
        for link in NAMES.map(|name| self.binaries.join(name)) {
            if fs::read_link(&link).is_ok_and(|to| to == self.program) {
                removed(&link).during(format!("cannot remove {}", link.display()))?;
            }
        }
        Ok(())
    }
}
