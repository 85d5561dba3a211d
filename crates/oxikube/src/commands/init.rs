//! `oxikube init`: the first machine of a cluster that others are to join.

use std::time::Duration;

use api::bootstrap::Token;
use clap::Args;
use cluster::node::NodeFiles;
use cluster::pki::Pki;

use super::{token, up};
use crate::admin::Admin;
use crate::cli::{ServerArgs, duration};
use crate::compose;
use crate::instance::{Instance, State};
use crate::master::{self, Master};
use crate::preflight;
use crate::problem::{During, Problem};

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Let other machines join as masters, too: the state is kept in an etcd that they share, and what masters have to know
    /// is handed out for two hours
    #[arg(long, conflicts_with_all = ["etcd_servers", "nodes", "control_planes", "without_node"])]
    upload_certs: bool,
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
        let mut ports =
            vec![(args.server.api_port, Some("--api-port")), (args.server.kubelet_port, Some("--kubelet-port"))];
        let several = args.upload_certs && Master::read(&instance)?.is_none();
        ports.extend(several.then(preflight::etcd_ports).into_iter().flatten());
        preflight::check(instance.root(), &ports)?;
        if several {
            compose::etcd_program().await?;
            first_of_several(&args.server, &instance)?;
        }
    }
    let master = Master::read(&instance)?;
    if args.upload_certs && master.is_none() {
        return Err(own_store(&instance));
    }
    let data = args.server.data.clone();
    up::run(up::UpArgs::alone(args.server, args.timeout)).await?;
    let admin = Admin::of(&data).await?;
    if let State::Up(running) = instance.state()? {
        admin.mark_master(&running.node).await?;
    }
    let kept = token::keep(&admin, Token::generate(), args.token_ttl, "made by 'oxikube init'").await?;
    let join = admin.join_command(&kept.token).await?;
    println!("\nOn each machine that is to join, run as root:\n\n  {join}");
    if args.upload_certs {
        let key = admin.upload(&instance.path("pki")).await?;
        println!(
            "\nOn each machine that is to be a master, too, within two hours:\n\n  {join} --control-plane --certificate-key {}",
            key.text()
        );
    }
    Ok(())
}

/// Makes this machine the first of several masters; its server finds that written down.
fn first_of_several(args: &ServerArgs, instance: &Instance) -> Result<(), Problem> {
    if std::fs::read_dir(instance.path("store")).is_ok_and(|mut files| files.next().is_some()) {
        return Err(own_store(instance));
    }
    drop(instance.own()?);
    let failed = "cannot make keys and certificates";
    let address = args.node_ip.map_or_else(compose::advertise_address, Ok)?;
    let name = compose::node_name(args.hostname_override.as_ref())?;
    Pki::open(&instance.path("pki")).during(failed)?;
    cluster::etcd::furnish(&instance.path("pki"), &[address]).during(failed)?;
    let master = Master {
        members: vec![(name.clone(), address)],
        name,
        address,
        joined: false,
        votes: true,
        cgroup: None,
        flags: master::flags(args),
        kubelet_port: args.kubelet_port,
    };
    master.save(instance)
}

fn own_store(instance: &Instance) -> Problem {
    Problem::new(format!(
        "the cluster in {} keeps its state in a store of its own, which masters cannot share; start one with --upload-certs in another --data-dir, and move the state there with 'oxikube snapshot'",
        instance.root().display()
    ))
}
