//! `oxikube init`: the first machine of a cluster that others are to join.

use std::time::Duration;

use api::bootstrap::Token;
use clap::Args;
use cluster::node::NodeFiles;

use super::{token, up};
use crate::admin::Admin;
use crate::cli::{ServerArgs, duration};
use crate::instance::{Instance, State};
use crate::preflight;
use crate::problem::{During, Problem};

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// How long the token for the other machines is good; 0 means forever
    #[arg(long, default_value = "24h", value_parser = duration, value_name = "DURATION")]
    token_ttl: Duration,
    /// How long to wait for everything
    #[arg(long, default_value = "120s", value_parser = duration, value_name = "DURATION")]
    timeout: Duration,
}

pub(crate) async fn run(args: InitArgs) -> Result<(), Problem> {
    let instance = Instance::new(&args.server.data.data_dir);
    let joined = NodeFiles::new(instance.root()).settings().during("cannot tell what this machine is")?;
    if let Some(settings) = joined {
        return Err(Problem::new(format!(
            "{} belongs to the node {} of another cluster; take it out with 'oxikube reset', or choose another --data-dir",
            instance.root().display(),
            settings.node
        )));
    }
    if !matches!(instance.state()?, State::Up(_)) {
        let ports = [(args.server.api_port, "--api-port"), (args.server.kubelet_port, "--kubelet-port")];
        preflight::check(instance.root(), &ports)?;
    }
    let data = args.server.data.clone();
    up::run(up::UpArgs::alone(args.server, args.timeout)).await?;
    let admin = Admin::of(&data).await?;
    let kept = token::keep(&admin, Token::generate(), args.token_ttl, "made by 'oxikube init'").await?;
    println!("\nOn each machine that is to join, run as root:\n\n  {}", admin.join_command(&kept.token).await?);
    Ok(())
}
