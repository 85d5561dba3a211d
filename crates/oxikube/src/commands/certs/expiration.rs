//! `oxikube certs check-expiration`: how long the certificates of this machine are good.

use clap::Args;
use serde_json::json;

use crate::certificates;
use crate::cli::DataDir;
use crate::instance::Instance;
use crate::problem::Problem;

/// Arguments of `certs check-expiration`.
#[derive(Debug, Args)]
pub(crate) struct ExpirationArgs {
    #[command(flatten)]
    data: DataDir,
    /// Output: text or json
    #[arg(short = 'o', long, default_value = "text", value_parser = ["text", "json"])]
    output: String,
}

pub(crate) fn run(args: &ExpirationArgs) -> Result<(), Problem> {
    let instance = Instance::new(&args.data.data_dir);
    let found = certificates::all(&instance);
    if args.output == "json" {
        println!("{:#}", json!(found));
        return Ok(());
    }
    if found.is_empty() {
        return Err(Problem::new(format!("there are no certificates in {}", instance.root().display())));
    }
    let width = found.iter().map(|certificate| certificate.file.len()).max().unwrap_or_default();
    println!("{:<width$}  {:<20}  {:>5}  SIGNED BY", "CERTIFICATE", "EXPIRES", "DAYS");
    for one in &found {
        let by = if one.is_authority { "itself" } else { &one.authority };
        println!("{:<width$}  {:<20}  {:>5}  {by}", one.file, one.expires, one.days_left);
    }
    Ok(())
}
