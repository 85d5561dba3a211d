//! Reads autoscalers, scales and figures, changes scales, writes the status.

use std::collections::HashMap;
use std::sync::Arc;

use api::Quantity;
use api::selector::LabelSelector;
use client::{EventRecorder, Informer, ObjectKey, Outcome, Reconciler, Runner, reference, write};
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, ExternalMetricStatus, HPAScalingRules, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerStatus, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus, ObjectMetricStatus,
    PodsMetricStatus, ResourceMetricStatus,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::PostParams;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::behavior::{self, PERIOD, Past};
use super::conditions::{self, Verdict};
use super::metrics::{Metrics, selector_text};
use super::replicas::{Proposal, Question, Tolerance, Wanted, by_ratio, by_share};
use crate::common::pod_control::message;
use crate::common::{pods, scale};
use crate::context::{Context, start};

const ACCOUNT: &str = "horizontal-pod-autoscaler";
const WORKERS: usize = 5;
const TOLERANCE: f64 = 0.1;

struct Autoscalers {
    client: kube::Client,
    events: EventRecorder,
    metrics: Metrics,
    scalers: Informer<HorizontalPodAutoscaler>,
    pods: Informer<Pod>,
    past: Mutex<HashMap<ObjectKey, Past>>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let scalers = context.informers.get::<HorizontalPodAutoscaler>();
    let pods = context.pods();
    let client = context.client(ACCOUNT);
    let reconciler = Arc::new(Autoscalers {
        events: context.recorder(ACCOUNT),
        metrics: Metrics { client: client.clone() },
        client,
        scalers: scalers.clone(),
        pods: pods.clone(),
        past: Mutex::default(),
    });
    let runner = Runner::new(reconciler, WORKERS);
    let queue = runner.queue();
    let _changed = scalers.on_change(move |change| {
        if let client::Change::Applied { key, old, new } = change
            && old.as_ref().is_none_or(|old| old.spec != new.spec)
        {
            queue.add(key.clone());
        }
    });
    let synced = async {
        scalers.synced().await;
        pods.synced().await;
    };
    start(runner, synced, shutdown).await;
}

/// What one metric asks for.
struct Answer {
    replicas: i32,
    name: String,
    status: MetricStatus,
}

/// A target whose scale was read.
struct Target<'a> {
    namespace: &'a str,
    current: i32,
    selector: &'a str,
    pods: Vec<Arc<Pod>>,
    tolerance: Tolerance,
    now: Timestamp,
}

impl Reconciler for Autoscalers {
    type Key = ObjectKey;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "podautoscaler"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Outcome, kube::Error> {
        let Some(scaler) = self.scalers.find(key) else {
            self.past.lock().remove(key);
            return Ok(Outcome::Done);
        };
        let mut status = scaler.status.clone().unwrap_or_default();
        status.observed_generation = scaler.metadata.generation;
        self.look(key, &scaler, &mut status).await;
        if scaler.status.as_ref() != Some(&status) {
            let new = HorizontalPodAutoscaler { status: Some(status), ..(*scaler).clone() };
            let api = Api::<HorizontalPodAutoscaler>::namespaced(self.client.clone(), &key.namespace);
            match api.replace_status(&key.name, &PostParams::default(), &new).await {
                Err(error) if write::is_not_found(&error) => return Ok(Outcome::Done),
                other => drop(other?),
            }
        }
        Ok(Outcome::RequeueAfter(PERIOD))
    }
}

fn tolerance(rules: &HPAScalingRules) -> f64 {
    let own = rules.tolerance.as_ref().and_then(|amount| Quantity::try_from(amount).ok());
    own.map_or(TOLERANCE, |own| own.milli_value() as f64 / 1000.0)
}

impl Autoscalers {
    async fn look(
        &self,
        key: &ObjectKey,
        scaler: &HorizontalPodAutoscaler,
        status: &mut HorizontalPodAutoscalerStatus,
    ) {
        let now = Timestamp::now();
        let target = &scaler.spec.scale_target_ref;
        let version = target.api_version.as_deref().unwrap_or("v1");
        let found = scale::get(&self.client, &key.namespace, version, &target.kind, &target.name).await;
        let scale = match found {
            Ok(Some(scale)) => scale,
            other => {
                let missing = || format!("{} \"{}\" not found", target.kind.to_lowercase(), target.name);
                let why = other.err().map_or_else(missing, |error| message(&error));
                self.events.warning(&reference(scaler), "FailedGetScale", why.clone());
                let said = format!("the HPA controller was unable to get the target's current scale: {why}");
                conditions::set(status, Verdict::unable("FailedGetScale", said), now);
                return;
            }
        };
        let said = "the HPA controller was able to get the target's current scale";
        conditions::set(status, Verdict::able("SucceededGetScale", said), now);
        let current = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
        status.current_replicas = Some(current);
        let Some((desired, why)) = self.desired(key, scaler, &scale, current, status, now).await else { return };
        if desired != current && !self.rescale(key, scaler, scale, (current, desired), &why, status).await {
            return;
        }
        status.desired_replicas = desired;
    }

    /// The number that there should be, and why; none if it cannot be known.
    async fn desired(
        &self,
        key: &ObjectKey,
        scaler: &HorizontalPodAutoscaler,
        scale: &Scale,
        current: i32,
        status: &mut HorizontalPodAutoscalerStatus,
        now: Timestamp,
    ) -> Option<(i32, String)> {
        let spec = &scaler.spec;
        let least = spec.min_replicas.unwrap_or(1);
        if current == 0 && least != 0 {
            let why = "scaling is disabled since the replica count of the target is zero";
            conditions::set(status, Verdict::inactive("ScalingDisabled", why), now);
            return Some((0, String::new()));
        }
        if current > spec.max_replicas {
            return Some((spec.max_replicas, "Current number of replicas above Spec.MaxReplicas".to_owned()));
        }
        if current < least {
            return Some((least, "Current number of replicas below Spec.MinReplicas".to_owned()));
        }
        let (wish, name) = self.wish(key, scaler, scale, current, status, now).await?;
        let mut all = self.past.lock();
        let past = all.entry(key.clone()).or_default();
        let (desired, able, limited) = behavior::limit(spec, current, wish, past, now);
        conditions::set(status, able, now);
        conditions::set(status, limited, now);
        let why =
            if desired > current { format!("{name} above target") } else { "All metrics below target".to_owned() };
        Some((desired, why))
    }

    /// The most that any metric asks for. If one cannot be read, nothing is made less.
    async fn wish(
        &self,
        key: &ObjectKey,
        scaler: &HorizontalPodAutoscaler,
        scale: &Scale,
        current: i32,
        status: &mut HorizontalPodAutoscalerStatus,
        now: Timestamp,
    ) -> Option<(i32, String)> {
        let text = scale.status.as_ref().and_then(|status| status.selector.clone()).unwrap_or_default();
        let selector = LabelSelector::parse(&text).ok().filter(|_| !text.is_empty());
        let Some(selector) = selector else {
            let why = "the HPA target's scale is missing a selector";
            self.events.warning(&reference(scaler), "SelectorRequired", "selector is required");
            conditions::set(status, Verdict::inactive("InvalidSelector", why), now);
            return None;
        };
        let mut selected = self.pods.list_namespace(&key.namespace);
        selected.retain(|pod| selector.matches(&pod.metadata.labels.clone().unwrap_or_default()));
        let (up, down) = behavior::of(&scaler.spec);
        let tolerance = Tolerance { up: tolerance(&up), down: tolerance(&down) };
        let target = Target { namespace: &key.namespace, current, selector: &text, pods: selected, tolerance, now };
        let (mut best, mut failure, mut statuses) = (None::<(i32, String)>, None, Vec::new());
        for metric in scaler.spec.metrics.iter().flatten() {
            match self.ask(&target, metric).await {
                Ok(answer) => {
                    statuses.push(answer.status);
                    if best.as_ref().is_none_or(|(most, _)| answer.replicas > *most) {
                        best = Some((answer.replicas, answer.name));
                    }
                }
                Err((reason, why)) => failure = failure.or(Some((reason, why))),
            }
        }
        status.current_metrics = Some(statuses);
        if let Some((reason, why)) = failure {
            self.events.warning(&reference(scaler), reason, why.clone());
            if best.as_ref().is_none_or(|(most, _)| *most < current) {
                let said = format!("invalid metrics, first error is: {why}");
                self.events.warning(&reference(scaler), "FailedComputeMetricsReplicas", said);
                let said = format!("the HPA was unable to compute the replica count: {why}");
                conditions::set(status, Verdict::inactive(reason, said), now);
                return None;
            }
        }
        let (most, name) = best?;
        let said = format!("the HPA was able to successfully calculate a replica count from {name}");
        conditions::set(status, Verdict::active("ValidMetricFound", said), now);
        Some((most, name))
    }

    /// False: it could not be done.
    async fn rescale(
        &self,
        key: &ObjectKey,
        scaler: &HorizontalPodAutoscaler,
        mut scale: Scale,
        (current, desired): (i32, i32),
        why: &str,
        status: &mut HorizontalPodAutoscalerStatus,
    ) -> bool {
        let now = Timestamp::now();
        let target = &scaler.spec.scale_target_ref;
        scale.spec.get_or_insert_default().replicas = Some(desired);
        let version = target.api_version.as_deref().unwrap_or("v1");
        let written = scale::put(&self.client, &key.namespace, version, &target.kind, &scale).await;
        if let Err(error) = written {
            let (object, error) = (reference(scaler), message(&error));
            self.events.warning(
                &object,
                "FailedRescale",
                format!("New size: {desired}; reason: {why}; error: {error}"),
            );
            let said = format!("the HPA controller was unable to update the target scale: {error}");
            conditions::set(status, Verdict::unable("FailedUpdateScale", said), now);
            return false;
        }
        let said = format!("the HPA controller was able to update the target scale to {desired}");
        conditions::set(status, Verdict::able("SucceededRescale", said), now);
        self.events.normal(&reference(scaler), "SuccessfulRescale", format!("New size: {desired}; reason: {why}"));
        self.past.lock().entry(key.clone()).or_default().scaled(current, desired, now);
        status.last_scale_time = Some(Time(now));
        true
    }

    async fn ask(&self, target: &Target<'_>, metric: &MetricSpec) -> Result<Answer, (&'static str, String)> {
        if let Some(source) = &metric.resource {
            let failed = |why| ("FailedGetResourceMetric", format!("failed to get {} utilization: {why}", source.name));
            let (name, proposal) = self.resource(target, &source.name, None, &source.target).await.map_err(failed)?;
            let current = value(&source.name, &proposal);
            let status = ResourceMetricStatus { name: source.name.clone(), current };
            let status = MetricStatus { type_: "Resource".into(), resource: Some(status), ..MetricStatus::default() };
            return Ok(Answer { replicas: proposal.replicas, name, status });
        }
        if let Some(source) = &metric.container_resource {
            let failed =
                |why| ("FailedGetContainerResourceMetric", format!("failed to get {} utilization: {why}", source.name));
            let asked = self.resource(target, &source.name, Some(&source.container), &source.target).await;
            let (name, proposal) = asked.map_err(failed)?;
            let status = ContainerResourceMetricStatus {
                name: source.name.clone(),
                container: source.container.clone(),
                current: value(&source.name, &proposal),
            };
            let status = MetricStatus {
                type_: "ContainerResource".into(),
                container_resource: Some(status),
                ..MetricStatus::default()
            };
            return Ok(Answer {
                replicas: proposal.replicas,
                name: name.replace("resource", "container resource"),
                status,
            });
        }
        self.ask_others(target, metric).await
    }

    async fn resource(
        &self,
        target: &Target<'_>,
        resource: &str,
        container: Option<&str>,
        wanted: &MetricTarget,
    ) -> Result<(String, Proposal), String> {
        let (wanted, name) = match (&wanted.average_value, wanted.average_utilization) {
            (Some(average), _) => (Wanted::Average(milli(average)), format!("{resource} resource")),
            (None, Some(percent)) => {
                (Wanted::Utilization(percent), format!("{resource} resource utilization (percentage of request)"))
            }
            (None, None) => return Err("neither a target utilization nor a target average value is given".into()),
        };
        let figures = self.metrics.resource(target.namespace, target.selector, resource, container).await?;
        let question = Question {
            current: target.current,
            pods: &target.pods,
            figures,
            resource,
            container,
            wanted,
            tolerance: target.tolerance,
            now: target.now,
        };
        Ok((name, question.answer()?))
    }

    /// Figures that others than the cluster serve.
    async fn ask_others(&self, target: &Target<'_>, metric: &MetricSpec) -> Result<Answer, (&'static str, String)> {
        let (namespace, current, tolerance) = (target.namespace, target.current, target.tolerance);
        if let Some(source) = &metric.pods {
            let failed = |why| ("FailedGetPodsMetric", why);
            let (metric, of) = (&source.metric.name, selector_text(source.metric.selector.as_ref()));
            let figures = self.metrics.pods(namespace, target.selector, metric, &of).await.map_err(failed)?;
            let wanted = Wanted::Average(source.target.average_value.as_ref().map_or(1, milli));
            let (pods, now) = (target.pods.as_slice(), target.now);
            let question = Question { current, pods, figures, resource: "", container: None, wanted, tolerance, now };
            let proposal = question.answer().map_err(failed)?;
            let status = PodsMetricStatus { metric: source.metric.clone(), current: value("", &proposal) };
            let status = MetricStatus { type_: "Pods".into(), pods: Some(status), ..MetricStatus::default() };
            return Ok(Answer { replicas: proposal.replicas, name: format!("pods metric {metric}"), status });
        }
        if let Some(source) = &metric.object {
            let (metric, of) = (&source.metric.name, selector_text(source.metric.selector.as_ref()));
            let object = &source.described_object;
            let resource = plural(object.api_version.as_deref().unwrap_or("v1"), &object.kind);
            let total = self.metrics.object(namespace, &resource, &object.name, metric, &of).await;
            let total = total.map_err(|why| ("FailedGetObjectMetric", why))?;
            let (replicas, current) = whole(&source.target, total, target);
            let status =
                ObjectMetricStatus { metric: source.metric.clone(), described_object: object.clone(), current };
            let status = MetricStatus { type_: "Object".into(), object: Some(status), ..MetricStatus::default() };
            return Ok(Answer { replicas, name: format!("{} metric {metric}", object.kind), status });
        }
        if let Some(source) = &metric.external {
            let (metric, of) = (&source.metric.name, selector_text(source.metric.selector.as_ref()));
            let total = self.metrics.external(namespace, metric, &of).await;
            let total = total.map_err(|why| ("FailedGetExternalMetric", why))?;
            let (replicas, current) = whole(&source.target, total, target);
            let status = ExternalMetricStatus { metric: source.metric.clone(), current };
            let status = MetricStatus { type_: "External".into(), external: Some(status), ..MetricStatus::default() };
            return Ok(Answer { replicas, name: format!("external metric {metric}"), status });
        }
        Err(("InvalidMetricSourceType", format!("unknown metric source type \"{}\"", metric.type_)))
    }
}

fn milli(amount: &ApiQuantity) -> i64 {
    Quantity::try_from(amount).map_or(1, Quantity::milli_value)
}

fn plural(api_version: &str, kind: &str) -> String {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let plural = kube::api::ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(group, version, kind)).plural;
    if group.is_empty() { plural } else { format!("{plural}.{group}") }
}

/// By a figure of the whole: against a value, or shared among the pods.
fn whole(wanted: &MetricTarget, total: i64, target: &Target<'_>) -> (i32, MetricValueStatus) {
    let text = |milli: i64| Some(ApiQuantity(Quantity::millis(milli).to_string()));
    if let Some(each) = &wanted.average_value {
        let replicas = by_share(total, milli(each), target.current, target.tolerance);
        let average = total / i64::from(target.current.max(1));
        return (replicas, MetricValueStatus { average_value: text(average), ..MetricValueStatus::default() });
    }
    let ready = target.pods.iter().filter(|pod| pods::is_ready(pod) && !pods::is_terminating(pod)).count();
    let wanted = wanted.value.as_ref().map_or(1, milli).max(1);
    let ready = i32::try_from(ready).unwrap_or(i32::MAX);
    let replicas = by_ratio(total as f64 / wanted as f64, target.current, ready, target.tolerance);
    (replicas, MetricValueStatus { value: text(total), ..MetricValueStatus::default() })
}

fn value(resource: &str, proposal: &Proposal) -> MetricValueStatus {
    let average = Quantity::millis(proposal.average);
    let text = if resource == "memory" { average.to_binary_string() } else { average.to_string() };
    MetricValueStatus { average_utilization: proposal.utilization, average_value: Some(ApiQuantity(text)), value: None }
}
