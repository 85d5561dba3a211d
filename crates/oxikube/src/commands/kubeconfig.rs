//! `oxikube kubeconfig`

use crate::cli::DataDir;
use crate::instance::Instance;
use crate::problem::{Problem, file};

pub(crate) fn run(data: &DataDir) -> Result<(), Problem> {
    let path = Instance::new(&data.data_dir).kubeconfig();
    let text = std::fs::read_to_string(&path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Problem::new(format!("{} is not there yet; start a cluster with 'oxikube up'", path.display()))
        }
        _ => file(&path, &e),
    })?;
    print!("{text}");
    Ok(())
}
