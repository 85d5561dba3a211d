//! `oxikube token`: what a machine shows to ask for a node's certificate.

use std::time::Duration;

use api::bootstrap::{NODES_GROUP, SECRET_TYPE, Token, TokenSecret, secret_name};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use crate::admin::Admin;
use crate::cli::{DataDir, duration};
use crate::problem::{During, Problem};

/// Arguments of `token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token and print it
    #[command(
        after_help = "Example:\n  oxikube token create --ttl 1h --description 'for the new machine'\n  oxikube token create --print-join-command"
    )]
    Create(CreateArgs),
    /// Show the tokens
    #[command(after_help = "Example:\n  oxikube token list -o json")]
    List {
        #[command(flatten)]
        data: DataDir,
        /// Output: text or json
        #[arg(short = 'o', long, default_value = "text", value_parser = ["text", "json"])]
        output: String,
    },
    /// Forget a token: whoever shows it is not let in any more
    #[command(after_help = "Example:\n  oxikube token delete abcdef")]
    Delete {
        #[command(flatten)]
        data: DataDir,
        /// The token, or the part of it before the dot
        token: String,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    #[command(flatten)]
    data: DataDir,
    /// This token instead of one made up
    #[arg(value_name = "TOKEN")]
    token: Option<String>,
    /// How long it is good for; 0 means forever
    #[arg(long, default_value = "24h", value_parser = duration, value_name = "DURATION")]
    ttl: Duration,
    /// What it is for
    #[arg(long, default_value = "", hide_default_value = true)]
    description: String,
    /// Print the command by which a machine joins with it
    #[arg(long)]
    print_join_command: bool,
    /// Output: text or json
    #[arg(short = 'o', long, default_value = "text", value_parser = ["text", "json"])]
    output: String,
}

pub(crate) async fn run(args: TokenArgs) -> Result<(), Problem> {
    match args.action {
        Action::Create(args) => create(args).await,
        Action::List { data, output } => list(&secrets(&data).await?, output == "json").await,
        Action::Delete { data, token } => delete(&secrets(&data).await?, &token).await,
    }
}

/// Where the tokens are kept, reached as the administrator.
async fn secrets(data: &DataDir) -> Result<Api<Secret>, Problem> {
    Ok(Admin::of(data).await?.secrets())
}

async fn create(args: CreateArgs) -> Result<(), Problem> {
    let token = match &args.token {
        Some(text) => Token::parse(text).ok_or_else(|| {
            Problem::new("this is no token: one is six small letters or digits, a dot, and sixteen more")
        })?,
        None => Token::generate(),
    };
    let admin = Admin::of(&args.data).await?;
    let kept = keep(&admin, token, args.ttl, &args.description).await?;
    match args.output.as_str() {
        "json" => println!("{:#}", shown(&kept, Timestamp::now())),
        _ if args.print_join_command => println!("{}", admin.join_command(&kept.token).await?),
        _ => println!("{}", kept.token.text()),
    }
    Ok(())
}

/// Has the cluster know a token.
pub(crate) async fn keep(
    admin: &Admin,
    token: Token,
    ttl: Duration,
    description: &str,
) -> Result<TokenSecret, Problem> {
    let end = match ttl {
        Duration::ZERO => None,
        ttl => Some(Timestamp::now().checked_add(ttl).during("--ttl is too long; 0 means forever")?),
    };
    let kept = TokenSecret {
        token,
        expiration: end,
        authenticates: true,
        signs: true,
        groups: vec![NODES_GROUP.to_owned()],
        description: description.to_owned(),
    };
    let id = &kept.token.id;
    match admin.secrets().create(&PostParams::default(), &kept.secret()).await {
        Ok(_) => Ok(kept),
        Err(error) if client::write::is_already_exists(&error) => Err(Problem::new(format!(
            "there is a token {id} already; choose another, or 'oxikube token delete {id}' first"
        ))),
        Err(error) => Err(error).during("cannot keep the token"),
    }
}

/// A token, for programs.
fn shown(kept: &TokenSecret, now: Timestamp) -> Value {
    json!({
        "token": kept.token.text(), "description": kept.description, "groups": kept.groups,
        "expires": kept.expiration.map(api::time::seconds), "expired": kept.is_expired(now),
    })
}

async fn list(secrets: &Api<Secret>, as_json: bool) -> Result<(), Problem> {
    let params = ListParams::default().fields(&format!("type={SECRET_TYPE}"));
    let found = secrets.list(&params).await.during("cannot read the tokens")?;
    let tokens: Vec<TokenSecret> = found.items.iter().filter_map(TokenSecret::of).collect();
    let now = Timestamp::now();
    if as_json {
        println!("{:#}", Value::from_iter(tokens.iter().map(|kept| shown(kept, now))));
        return Ok(());
    }
    println!("{:<24} {:<8} {:<21} DESCRIPTION", "TOKEN", "TTL", "EXPIRES");
    for kept in &tokens {
        let (left, end) = match kept.expiration {
            None => ("forever".to_owned(), "never".to_owned()),
            Some(end) => (api::time::age(end.duration_since(now).as_secs()), api::time::seconds(end)),
        };
        println!("{:<24} {left:<8} {end:<21} {}", kept.token.text(), kept.description);
    }
    Ok(())
}

async fn delete(secrets: &Api<Secret>, token: &str) -> Result<(), Problem> {
    let id = token.split('.').next().unwrap_or(token);
    match secrets.delete(&secret_name(id), &DeleteParams::default()).await {
        Ok(_) => println!("token {id} deleted"),
        Err(error) if client::write::is_not_found(&error) => {
            return Err(Problem::new(format!("there is no token {id}; see 'oxikube token list'")));
        }
        Err(error) => return Err(error).during(format!("cannot delete the token {id}")),
    }
    Ok(())
}
