//! Lifecycle hooks.

use std::time::Duration;

use k8s_openapi::api::core::v1::LifecycleHandler;

use crate::context::Context;
use crate::spec::Entry;

/// A hook without another limit runs at most this long.
const LONGEST: Duration = Duration::from_secs(3600);

pub(super) async fn run(
    context: &Context,
    entry: &Entry<'_>,
    hook: &LifecycleHandler,
    id: &str,
    ip: Option<&str>,
) -> Result<(), String> {
    match tokio::time::timeout(LONGEST, once(context, entry, hook, id, ip)).await {
        Ok(result) => result,
        Err(_) => Err("the hook took too long".to_owned()),
    }
}

async fn once(
    context: &Context,
    entry: &Entry<'_>,
    hook: &LifecycleHandler,
    id: &str,
    ip: Option<&str>,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let command = exec.command.clone().unwrap_or_default();
        let shown = command.join(" ");
        let done = context.engine.exec_sync(id, command, 0).await.map_err(|error| error.to_string())?;
        return match done.exit_code {
            0 => Ok(()),
            code => {
                let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
                Err(format!("command '{shown}' exited with {code}: {text}"))
            }
        };
    }
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
        return Ok(());
    }
    if let Some(get) = &hook.http_get {
        return context.prober.http_hook(&entry.container, get, ip.unwrap_or_default()).await;
    }
    Err("invalid handler: no action".to_owned())
}
