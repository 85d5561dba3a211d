//! The phase of a pod, from the states of its containers.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::spec::{self, Role};

#[derive(Default)]
struct Count {
    pending_init: usize,
    failed_init: usize,
    waiting: usize,
    running: usize,
    stopped: usize,
    succeeded: usize,
    unknown: usize,
}

/// `over`: no container of the pod will run again, whatever its restart policy.
pub(super) fn phase(pod: &Pod, init: &[ContainerStatus], main: &[ContainerStatus], over: bool) -> &'static str {
    let mut count = Count::default();
    let entries = spec::containers(pod);
    for entry in &entries {
        match entry.role {
            Role::Init => count.init(find(init, entry.name())),
            Role::Sidecar => count.sidecar(find(init, entry.name())),
            Role::Main => count.main(find(main, entry.name())),
            Role::Ephemeral => {}
        }
    }
    let policy = spec::restart_policy(pod);
    if count.failed_init > 0 && policy == "Never" {
        return "Failed";
    }
    count.phase(policy, over)
}

impl Count {
    fn phase(&self, policy: &str, over: bool) -> &'static str {
        let began = self.running + self.stopped > 0;
        if self.pending_init > 0 && !began {
            return if over { "Failed" } else { "Pending" };
        }
        if self.waiting > 0 {
            return match (over, self.stopped > 0) {
                (true, _) => "Failed",
                (false, true) => "Running",
                (false, false) => "Pending",
            };
        }
        if self.running > 0 && self.unknown == 0 {
            return "Running";
        }
        if self.running == 0 && self.stopped > 0 && self.unknown == 0 {
            let succeeded = self.stopped == self.succeeded;
            return match policy {
                _ if over && succeeded => "Succeeded",
                _ if over => "Failed",
                "Always" => "Running",
                _ if succeeded => "Succeeded",
                "Never" => "Failed",
                _ => "Running",
            };
        }
        if over { "Failed" } else { "Pending" }
    }

    fn init(&mut self, status: Option<&ContainerStatus>) {
        let state = status.and_then(|status| status.state.as_ref());
        let Some(state) = state else {
            self.pending_init += 1;
            return;
        };
        let last = status.and_then(|status| status.last_state.as_ref()?.terminated.as_ref());
        match (&state.terminated, last) {
            (Some(ended), _) if ended.exit_code != 0 => self.failed_init += 1,
            (Some(_), _) => {}
            (None, Some(ended)) if ended.exit_code != 0 && state.running.is_none() => self.failed_init += 1,
            (None, _) => self.pending_init += 1,
        }
    }

    fn sidecar(&mut self, status: Option<&ContainerStatus>) {
        let started = status.is_some_and(|status| status.started == Some(true));
        let ended = status.and_then(|status| status.state.as_ref()?.terminated.as_ref()).is_some();
        if !started && !ended {
            self.pending_init += 1;
        }
    }

    fn main(&mut self, status: Option<&ContainerStatus>) {
        let Some((status, state)) = status.and_then(|status| Some((status, status.state.as_ref()?))) else {
            self.unknown += 1;
            return;
        };
        if state.running.is_some() {
            self.running += 1;
        } else if let Some(ended) = &state.terminated {
            self.stopped += 1;
            self.succeeded += usize::from(ended.exit_code == 0);
        } else if status.last_state.as_ref().is_some_and(|last| last.terminated.is_some()) {
            self.stopped += 1;
        } else {
            self.waiting += 1;
        }
    }
}

pub(super) fn find<'a>(statuses: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    statuses.iter().find(|status| status.name == name)
}
