//! How many replicas a figure asks for. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Quantity;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};

use crate::common::pods;

/// A pod that has just started is not asked for its processor time.
const INITIALIZATION: SignedDuration = SignedDuration::from_secs(300);
/// One that was not ready so soon after its start never was.
const READINESS: SignedDuration = SignedDuration::from_secs(30);

/// A figure of a pod, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Figure {
    pub(super) milli: i64,
    pub(super) at: Timestamp,
    pub(super) window: SignedDuration,
}

/// How far a figure may be off before anything is done: for more and for less.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerance {
    pub(super) up: f64,
    pub(super) down: f64,
}

impl Tolerance {
    fn accepts(self, ratio: f64) -> bool {
        ratio >= 1.0 - self.down && ratio <= 1.0 + self.up
    }
}

/// What each pod is to use.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    /// Of a hundred of what it requests.
    Utilization(i32),
    /// On average, in thousandths.
    Average(i64),
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) replicas: i32,
    /// Of a hundred of the requests, where that is what is looked at.
    pub(super) utilization: Option<i32>,
    /// The average of a pod, in thousandths.
    pub(super) average: i64,
}

/// What is looked at.
pub(super) struct Question<'a> {
    pub(super) current: i32,
    /// The pods of the target.
    pub(super) pods: &'a [Arc<Pod>],
    /// Their figures by name.
    pub(super) figures: BTreeMap<String, Figure>,
    pub(super) resource: &'a str,
    /// Of one container, not of all.
    pub(super) container: Option<&'a str>,
    pub(super) wanted: Wanted,
    pub(super) tolerance: Tolerance,
    pub(super) now: Timestamp,
}

fn name(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

#[derive(Default)]
struct Groups {
    ready: i32,
    unready: Vec<String>,
    missing: Vec<String>,
    ignored: Vec<String>,
}

impl Question<'_> {
    pub(super) fn answer(mut self) -> Result<Proposal, String> {
        let groups = self.group();
        for gone in groups.unready.iter().chain(&groups.ignored) {
            self.figures.remove(gone);
        }
        if self.figures.is_empty() {
            return Err("did not receive metrics for targeted pods (pods might be unready)".into());
        }
        let requests = match self.wanted {
            Wanted::Utilization(_) => self.requests()?,
            Wanted::Average(_) => BTreeMap::new(),
        };
        let (ratio, utilization, average) = self.ratio(&requests)?;
        let proposal = |replicas: i32| Proposal { replicas, utilization, average };
        let grows_with_unready = !groups.unready.is_empty() && ratio > 1.0;
        if !grows_with_unready && groups.missing.is_empty() {
            let fits = self.tolerance.accepts(ratio);
            return Ok(proposal(if fits { self.current } else { ceil(ratio * f64::from(groups.ready)) }));
        }
        self.assume(&groups, ratio, grows_with_unready, &requests);
        let (again, _, _) = self.ratio(&requests)?;
        let turned = (ratio < 1.0 && again > 1.0) || (ratio > 1.0 && again < 1.0);
        if self.tolerance.accepts(again) || turned {
            return Ok(proposal(self.current));
        }
        let replicas = ceil(again * self.figures.len() as f64);
        let backwards = (again < 1.0 && replicas > self.current) || (again > 1.0 && replicas < self.current);
        Ok(proposal(if backwards { self.current } else { replicas }))
    }

    fn group(&self) -> Groups {
        let mut groups = Groups::default();
        for pod in self.pods {
            let figure = self.figures.get(&name(pod));
            if pods::is_terminating(pod) || pods::phase(pod) == "Failed" {
                groups.ignored.push(name(pod));
            } else if pods::phase(pod) == "Pending" {
                groups.unready.push(name(pod));
            } else if let Some(figure) = figure {
                if self.resource == "cpu" && self.is_unready(pod, *figure) {
                    groups.unready.push(name(pod));
                } else {
                    groups.ready += 1;
                }
            } else {
                groups.missing.push(name(pod));
            }
        }
        groups
    }

    fn is_unready(&self, pod: &Pod, figure: Figure) -> bool {
        let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
        let (Some(ready), Some(started)) = (pods::condition(pod, "Ready"), started) else { return true };
        let since = ready.last_transition_time.as_ref().map_or(started, |time| time.0);
        let not_ready = ready.status == "False";
        if self.now.duration_since(started) < INITIALIZATION {
            return not_ready || figure.at.duration_since(since) < figure.window;
        }
        not_ready && since.duration_since(started) < READINESS
    }

    /// Pods without a figure are taken as what would do the least.
    fn assume(&mut self, groups: &Groups, ratio: f64, grows: bool, requests: &BTreeMap<String, i64>) {
        let figure = |milli: i64| Figure { milli, at: self.now, window: SignedDuration::ZERO };
        let mut assumed = Vec::new();
        for pod in &groups.missing {
            let milli = match self.wanted {
                _ if ratio >= 1.0 => 0,
                Wanted::Utilization(percent) => {
                    requests.get(pod).copied().unwrap_or(0).saturating_mul(i64::from(percent.max(100))) / 100
                }
                Wanted::Average(average) => average,
            };
            assumed.push((pod.clone(), figure(milli)));
        }
        if grows {
            assumed.extend(groups.unready.iter().map(|pod| (pod.clone(), figure(0))));
        }
        self.figures.extend(assumed);
    }

    fn requests(&self) -> Result<BTreeMap<String, i64>, String> {
        let mut requests = BTreeMap::new();
        for pod in self.pods {
            let containers: &[Container] = pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
            let mut sum: i64 = 0;
            for container in containers.iter().filter(|c| self.container.is_none_or(|wanted| wanted == c.name)) {
                let request = container.resources.as_ref().and_then(|all| all.requests.as_ref()?.get(self.resource));
                let request = request.and_then(|amount| Quantity::try_from(amount).ok()).ok_or_else(|| {
                    format!(
                        "missing request for {} in container {} of Pod {}",
                        self.resource,
                        container.name,
                        name(pod)
                    )
                })?;
                sum = sum.saturating_add(request.milli_value());
            }
            requests.insert(name(pod), sum);
        }
        Ok(requests)
    }

    fn ratio(&self, requests: &BTreeMap<String, i64>) -> Result<(f64, Option<i32>, i64), String> {
        let total: i64 = self.figures.values().map(|figure| figure.milli).fold(0, i64::saturating_add);
        let average = total / i64::try_from(self.figures.len()).unwrap_or(1).max(1);
        match self.wanted {
            Wanted::Average(wanted) => Ok((average as f64 / wanted.max(1) as f64, None, average)),
            Wanted::Utilization(wanted) => {
                let asked: i64 = self.figures.keys().filter_map(|name| requests.get(name)).sum();
                if asked == 0 {
                    return Err("no metrics returned matched known pods".into());
                }
                let percent = i32::try_from(total.saturating_mul(100) / asked).unwrap_or(i32::MAX);
                Ok((f64::from(percent) / f64::from(wanted.max(1)), Some(percent), average))
            }
        }
    }
}

/// The next whole number, within bounds.
#[allow(clippy::cast_possible_truncation, reason = "a float becomes the nearest number there is")]
fn ceil(number: f64) -> i32 {
    number.ceil() as i32
}

/// For a figure of the whole target: as many times the ready pods as it is above what is wanted.
pub(super) fn by_ratio(ratio: f64, current: i32, ready: i32, tolerance: Tolerance) -> i32 {
    if tolerance.accepts(ratio) { current } else { ceil(ratio * f64::from(ready)) }
}

/// For a figure that is shared among pods.
pub(super) fn by_share(total: i64, each: i64, current: i32, tolerance: Tolerance) -> i32 {
    let ratio = total as f64 / (each.max(1) as f64 * f64::from(current.max(1)));
    if tolerance.accepts(ratio) { current } else { ceil(total as f64 / each.max(1) as f64) }
}
