//! `oxikube certs renew`: certificates made anew, by the hand of whoever has the authority's key.

use std::path::{Path, PathBuf};

use clap::Args;
use cluster::node::NodeFiles;
use cluster::pki::{Pki, Renewed, kept};

use crate::certificates::{FOLDERS, roots};
use crate::cli::DataDir;
use crate::instance::{Instance, State};
use crate::problem::{During, Problem, file};

/// Arguments of `certs renew`.
#[derive(Debug, Args)]
pub(crate) struct RenewArgs {
    #[command(flatten)]
    data: DataDir,
    /// Which ones, as 'apiserver' or 'etcd/server'; 'all' is all that are not authorities
    #[arg(default_value = "all", value_name = "NAME")]
    names: Vec<String>,
}

pub(crate) fn run(args: &RenewArgs) -> Result<(), Problem> {
    let instance = Instance::new(&args.data.data_dir);
    let failed = "cannot renew certificates";
    let folders = FOLDERS.map(|folder| instance.path(folder));
    let authorities: Vec<Pki> = folders
        .iter()
        .filter_map(|folder| Pki::existing(folder).transpose())
        .collect::<Result<_, _>>()
        .during(failed)?;
    if authorities.is_empty() {
        return Err(no_authority(&instance));
    }
    let mut files = Vec::new();
    for root in roots(&instance) {
        let below = FOLDERS.iter().flat_map(|folder| kept(&root.join(folder))).map(|kept| kept.file);
        files.extend(below.filter(|path| is_meant(&root, path, &args.names)).map(|path| (root.clone(), path)));
    }
    files.sort();
    let mut count = 0;
    for (root, path) in &files {
        for authority in &authorities {
            if let Some(renewed) = authority.renew(path).during(failed)? {
                println!("{}", path.strip_prefix(instance.root()).unwrap_or(path).display());
                count += 1;
                show(&renewed, root, instance.root())?;
            }
        }
    }
    match count {
        0 => Err(Problem::new(
            "none of the certificates that can be renewed is called so; see 'oxikube certs check-expiration'",
        )),
        _ if matches!(instance.state()?, State::Up(_)) => {
            println!(
                "the server shows them when it is started anew ('systemctl restart oxikube'); containers go on meanwhile"
            );
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Has the kubeconfigs of a data directory show the new certificate; those of a machine are its own.
fn show(renewed: &Renewed, root: &Path, instance: &Path) -> Result<(), Problem> {
    for entry in std::fs::read_dir(root).map_err(|e| file(root, &e))? {
        let path = entry.map_err(|e| file(root, &e))?.path();
        let is_kubeconfig = path.extension().is_some_and(|extension| extension == "kubeconfig");
        if is_kubeconfig && renewed.put_into(&path).during("cannot renew a kubeconfig")? {
            println!("{}", path.strip_prefix(instance).unwrap_or(&path).display());
        }
    }
    Ok(())
}

/// Whether a certificate goes by one of these names.
fn is_meant(root: &Path, path: &Path, names: &[String]) -> bool {
    let own = path.with_extension("");
    let own = own.strip_prefix(root.join("pki")).map(PathBuf::from).unwrap_or_default();
    names.iter().any(|name| name == "all" || own == Path::new(name))
}

/// Only a machine with an authority's key makes certificates.
fn no_authority(instance: &Instance) -> Problem {
    let root = instance.root().display();
    match NodeFiles::new(instance.root()).settings() {
        Ok(Some(settings)) if settings.bootstrap => Problem::new(format!(
            "the node {} asks its cluster for certificates, and has them renewed before they end; there is nothing to do",
            settings.node
        )),
        _ => Problem::new(format!("{root} has no authority's key; renew certificates where the cluster was made")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_go_by_their_place_below_pki() {
        let is = |path: &str, name: &str| is_meant(Path::new("/d"), Path::new(path), &[name.to_owned()]);
        assert!(is("/d/pki/etcd/server.crt", "etcd/server") && is("/d/pki/apiserver.crt", "all"));
        assert!(!is("/d/pki/etcd/server.crt", "server") && !is("/d/pki/apiserver.crt", "apiserver.crt"));
    }
}
