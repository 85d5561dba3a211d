//! One task a sandbox: it hears from the shim how containers end, and finds the ends that were missed.

use std::fs;
use std::sync::Arc;

use cri::{CriError, v1::ContainerEventType};

use super::sandbox::discard;
use super::state::{Container, Phase, Sandbox, save};
use super::{Native, internal};
use crate::shared::now;
use crate::shim::protocol::{ContainerState, Exit, Reply, Request};

impl Native {
    /// Takes up what an earlier process left.
    pub(crate) async fn adopt(&self) -> Result<(), CriError> {
        let all = self.inner.config.dir.join("pods");
        for entry in fs::read_dir(&all).map_err(internal)?.flatten() {
            let sandbox = match Sandbox::load(entry.path()) {
                Ok(sandbox) => Arc::new(sandbox),
                Err(error) => {
                    tracing::warn!(path = %entry.path().display(), %error, "a sandbox cannot be read");
                    if error.kind() == std::io::ErrorKind::NotFound {
                        // The record is the first thing written: without it there was no sandbox yet.
                        discard(&entry.path())?;
                    }
                    continue;
                }
            };
            self.inner.sandboxes.write().insert(sandbox.id.clone(), sandbox.clone());
            if sandbox.is_ready() {
                match sandbox.shim.ask(Request::Events, &[]).await {
                    Ok(mut conversation) => {
                        if let Ok(Reply::State { containers }) = conversation.next().await {
                            self.take_state(&sandbox, containers);
                        }
                        drop(conversation);
                        self.watch(sandbox);
                    }
                    Err(error) => {
                        tracing::info!(sandbox = %sandbox.id, %error, "the sandbox has no shim any more");
                        self.lost(&sandbox).await;
                    }
                }
            }
        }
        Ok(())
    }

    /// Follows a sandbox's shim until it ends.
    pub(crate) fn watch(&self, sandbox: Arc<Sandbox>) {
        let (engine, cancel) = (self.clone(), self.inner.cancel.clone());
        self.inner.tasks.spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = engine.follow(&sandbox) => {
                    // While it is being stopped, its shim ends because it was told to.
                    let _held = sandbox.lock.lock().await;
                    if sandbox.is_ready() && engine.sandbox(&sandbox.id).is_ok() {
                        tracing::warn!(sandbox = %sandbox.id, "the shim has ended unexpectedly");
                        engine.lost(&sandbox).await;
                    }
                }
            }
        });
    }

    async fn follow(&self, sandbox: &Sandbox) {
        let Ok(mut conversation) = sandbox.shim.ask(Request::Events, &[]).await else { return };
        loop {
            match conversation.next().await {
                Ok(Reply::State { containers }) => self.take_state(sandbox, containers),
                Ok(Reply::Event { exit }) => self.ended(sandbox, exit),
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    fn take_state(&self, sandbox: &Sandbox, containers: Vec<ContainerState>) {
        for state in containers {
            match state.exit {
                Some(exit) => self.ended(sandbox, exit),
                None => {
                    let container = sandbox.containers.read().get(&state.id).cloned();
                    if let Some(container) = container.filter(|c| c.phase() == Phase::Created) {
                        container.phase.send_replace(Phase::Running { pid: state.pid });
                    }
                }
            }
        }
    }

    fn ended(&self, sandbox: &Sandbox, exit: Exit) {
        let container = sandbox.containers.read().get(&exit.id).cloned();
        if let Some(container) = container {
            self.mark_ended(&container, exit);
        }
    }

    /// Notes an end, once, and tells everybody.
    pub(crate) fn mark_ended(&self, container: &Arc<Container>, exit: Exit) {
        let changed = container.phase.send_if_modified(|phase| {
            let first = !matches!(phase, Phase::Exited(_));
            if first {
                *phase = Phase::Exited(exit);
            }
            first
        });
        if changed {
            self.announce(container, ContainerEventType::ContainerStoppedEvent);
        }
    }

    pub(crate) fn announce(&self, container: &Arc<Container>, event: ContainerEventType) {
        // Nobody listening is fine.
        drop(self.inner.events.send((container.clone(), event)));
    }

    /// The shim is gone (killed, or the machine was restarted): its containers cannot be followed any more.
    async fn lost(&self, sandbox: &Arc<Sandbox>) {
        for container in sandbox.containers() {
            let was_started = container.record.lock().started_at != 0;
            if !was_started || matches!(container.phase(), Phase::Exited(_)) {
                continue;
            }
            if let Err(error) = self.inner.cgroups.kill(&container.cgroup) {
                tracing::warn!(container = %container.id, %error, "a container without shim cannot be killed");
            }
            let exit = container.exit_on_disk().unwrap_or_else(|| {
                let unknown = Exit { id: container.id.clone(), code: 255, at: now(), oom: false };
                if let Err(error) = save(&container.directory.join("exit.json"), &unknown) {
                    tracing::warn!(container = %container.id, %error, "an end cannot be recorded");
                }
                unknown
            });
            self.mark_ended(&container, exit);
        }
        sandbox.record.lock().stopped = true;
        if let Err(error) = sandbox.save() {
            tracing::warn!(sandbox = %sandbox.id, %error, "a sandbox cannot be recorded");
        }
    }
}
