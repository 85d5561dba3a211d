//! `oxikube image`

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::time::Instant;

use crate::cli::DataDir;
use crate::compose::{self, Node};
use crate::images::{self, ImageLine, Request};
use crate::instance::Instance;
use crate::problem::Problem;

/// Arguments of `image`.
#[derive(Debug, Args)]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Take in images from docker or OCI archives
    #[command(after_help = "Example:\n  oxikube image import nginx.tar")]
    Import {
        #[command(flatten)]
        data: DataDir,
        /// Archives
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Show the images of this node
    #[command(after_help = "Example:\n  oxikube image list -o json")]
    List {
        #[command(flatten)]
        data: DataDir,
        /// Output: text or json
        #[arg(short = 'o', long, default_value = "text", value_parser = ["text", "json"])]
        output: String,
    },
    /// Fetch an image from its registry
    #[command(after_help = "Example:\n  oxikube image pull docker.io/library/nginx:1.29")]
    Pull {
        #[command(flatten)]
        data: DataDir,
        /// Name of the image
        reference: String,
    },
    /// Remove an image
    #[command(after_help = "Example:\n  oxikube image remove nginx:latest")]
    Remove {
        #[command(flatten)]
        data: DataDir,
        /// Name or id of the image
        reference: String,
    },
}

pub(crate) async fn run(args: ImageArgs) -> Result<(), Problem> {
    match args.action {
        Action::Import { data, files } => {
            for file in files {
                let path = std::path::absolute(&file).unwrap_or(file);
                for image in import(&data.data_dir, path).await? {
                    println!("imported {}", image.names.first().unwrap_or(&image.id));
                }
            }
            Ok(())
        }
        Action::List { data, output } => {
            let images = ask(&first(&data.data_dir)?, Request::List).await?;
            if output == "json" {
                println!("{}", serde_json::to_string_pretty(&images).unwrap_or_default());
            } else {
                images.iter().for_each(print);
            }
            Ok(())
        }
        Action::Pull { data, reference } => {
            ask(&first(&data.data_dir)?, Request::Pull(reference)).await?.iter().for_each(print);
            Ok(())
        }
        Action::Remove { data, reference } => {
            ask(&first(&data.data_dir)?, Request::Remove(reference.clone())).await?;
            println!("removed {reference}");
            Ok(())
        }
    }
}

fn print(image: &ImageLine) {
    let id: String = image.id.trim_start_matches("sha256:").chars().take(12).collect();
    println!("{id}  {:>7.1} MiB  {}", image.size as f64 / f64::from(1 << 20), image.names.join(" "));
}

/// The first node of an instance, the host's where it has one.
fn first(root: &Path) -> Result<PathBuf, Problem> {
    let nodes = compose::node_directories(&Instance::new(root))?;
    Ok(nodes.into_iter().next().unwrap_or_else(|| root.to_owned()))
}

/// Takes an archive in on every node of the instance.
async fn import(root: &Path, archive: PathBuf) -> Result<Vec<ImageLine>, Problem> {
    let nodes = compose::node_directories(&Instance::new(root))?;
    let asked = nodes.iter().map(|node| ask(node, Request::Import(archive.clone())));
    let answers = futures::future::try_join_all(asked).await?;
    Ok(answers.into_iter().next().unwrap_or_default())
}

/// A server that starts opens its door within this time, also where the engine is slow.
const DOOR: Duration = Duration::from_secs(15);

/// Asks the running server, or, without one, works on the store itself.
async fn ask(root: &Path, request: Request) -> Result<Vec<ImageLine>, Problem> {
    let instance = Instance::new(root);
    let socket = instance.path("run/images.sock");
    let deadline = Instant::now() + DOOR;
    let _own = loop {
        // A socket that somebody listens on belongs to the server, or to a kubelet on its own.
        if tokio::net::UnixStream::connect(&socket).await.is_ok() {
            return images::ask(&socket, &request).await;
        }
        match instance.own() {
            Ok(own) => break own,
            // It runs, but is not as far yet.
            Err(_) if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(problem) => return Err(problem),
        }
    };
    let node = Node::open(&instance, &instance.node_settings()?).await?;
    let reply = images::carry_out(&*node.engine, request).await;
    node.engine.close().await;
    reply.map_err(Problem::new)
}
