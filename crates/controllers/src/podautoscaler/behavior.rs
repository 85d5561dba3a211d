//! How fast the number of replicas may change. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerSpec};

use super::conditions::Verdict;

/// What was proposed, and what was done, in the time that matters.
#[derive(Debug, Clone, Default)]
pub(super) struct Past {
    recommendations: Vec<(Timestamp, i32)>,
    ups: Vec<(Timestamp, i32)>,
    downs: Vec<(Timestamp, i32)>,
}

/// Nothing looks back further.
const MEMORY: SignedDuration = SignedDuration::from_secs(3600);

impl Past {
    /// The number of replicas was changed.
    pub(super) fn scaled(&mut self, from: i32, to: i32, now: Timestamp) {
        let list = if to > from { &mut self.ups } else { &mut self.downs };
        list.push((now, (to - from).abs()));
        list.retain(|(at, _)| now.duration_since(*at) < MEMORY);
    }
}

fn within(list: &[(Timestamp, i32)], window: i32, now: Timestamp) -> impl Iterator<Item = i32> + '_ {
    let window = SignedDuration::from_secs(window.into());
    list.iter().filter(move |(at, _)| now.duration_since(*at) < window).map(|(_, number)| *number)
}

fn policy(kind: &str, value: i32) -> HPAScalingPolicy {
    HPAScalingPolicy { type_: kind.to_owned(), value, period_seconds: 15 }
}

fn rules(own: Option<HPAScalingRules>, window: i32, policies: Vec<HPAScalingPolicy>) -> HPAScalingRules {
    let own = own.unwrap_or_default();
    HPAScalingRules {
        policies: own.policies.filter(|policies| !policies.is_empty()).or(Some(policies)),
        select_policy: own.select_policy.or(Some("Max".to_owned())),
        stabilization_window_seconds: own.stabilization_window_seconds.or(Some(window)),
        tolerance: own.tolerance,
    }
}

/// The rules for more and for less, with upstream's defaults.
pub(super) fn of(spec: &HorizontalPodAutoscalerSpec) -> (HPAScalingRules, HPAScalingRules) {
    let behavior = spec.behavior.clone().unwrap_or_default();
    let up = rules(behavior.scale_up, 0, vec![policy("Percent", 100), policy("Pods", 4)]);
    let down = rules(behavior.scale_down, 300, vec![policy("Percent", 100)]);
    (up, down)
}

/// The number that the rules let the wish become, and the two conditions that this gives.
pub(super) fn limit(
    spec: &HorizontalPodAutoscalerSpec,
    current: i32,
    wish: i32,
    past: &mut Past,
    now: Timestamp,
) -> (i32, Verdict, Verdict) {
    let (up, down) = of(spec);
    let (steady, able) = stabilize(&up, &down, current, wish, past, now);
    let least = spec.min_replicas.unwrap_or(1);
    let (number, limited) = match steady {
        wish if wish > current => {
            let fastest = fastest_up(&up, current, past, now).max(current);
            let too_fast = Verdict::limited(
                "ScaleUpLimit",
                "the desired replica count is increasing faster than the maximum scale rate",
            );
            let too_many =
                Verdict::limited("TooManyReplicas", "the desired replica count is more than the maximum replica count");
            if wish > fastest.min(spec.max_replicas) {
                if fastest < spec.max_replicas { (fastest, too_fast) } else { (spec.max_replicas, too_many) }
            } else {
                (wish, Verdict::within_range())
            }
        }
        wish if wish < current => {
            let fastest = slowest_down(&down, current, past, now).min(current);
            let too_fast = Verdict::limited(
                "ScaleDownLimit",
                "the desired replica count is decreasing faster than the maximum scale rate",
            );
            let too_few =
                Verdict::limited("TooFewReplicas", "the desired replica count is less than the minimum replica count");
            if wish < fastest.max(least) {
                if fastest > least { (fastest, too_fast) } else { (least, too_few) }
            } else {
                (wish, Verdict::within_range())
            }
        }
        wish => (wish, Verdict::within_range()),
    };
    (number, able, limited)
}

/// No more than the lowest recent wish for more, no less than the highest recent one for less.
fn stabilize(
    up: &HPAScalingRules,
    down: &HPAScalingRules,
    current: i32,
    wish: i32,
    past: &mut Past,
    now: Timestamp,
) -> (i32, Verdict) {
    let window = |rules: &HPAScalingRules| rules.stabilization_window_seconds.unwrap_or(0);
    let lowest = within(&past.recommendations, window(up), now).min().map_or(wish, |lowest| lowest.min(wish));
    let highest = within(&past.recommendations, window(down), now).max().map_or(wish, |highest| highest.max(wish));
    past.recommendations.push((now, wish));
    past.recommendations.retain(|(at, _)| now.duration_since(*at) < MEMORY);
    let steady = if current < lowest {
        lowest
    } else if current > highest {
        highest
    } else {
        current
    };
    let verdict = match steady {
        steady if steady == wish => Verdict::able("ReadyForNewScale", "recommended size matches current size"),
        steady if steady > wish => Verdict::able(
            "ScaleDownStabilized",
            "recent recommendations were higher than current one, applying the highest recent recommendation",
        ),
        _ => Verdict::able(
            "ScaleUpStabilized",
            "recent recommendations were lower than current one, applying the lowest recent recommendation",
        ),
    };
    (steady, verdict)
}

/// By which policy: the one that changes the most, the least, or none.
fn choose(rules: &HPAScalingRules, proposals: impl Iterator<Item = i32>, upwards: bool, current: i32) -> i32 {
    let chosen = match rules.select_policy.as_deref() {
        Some("Disabled") => None,
        Some("Min") if upwards => proposals.min(),
        Some("Min") => proposals.max(),
        _ if upwards => proposals.max(),
        _ => proposals.min(),
    };
    chosen.unwrap_or(current)
}

fn changed(past: &Past, period: i32, now: Timestamp) -> (i32, i32) {
    (within(&past.ups, period, now).sum(), within(&past.downs, period, now).sum())
}

/// What each policy allows, by pods or by percent of what there was at the start of its period.
fn proposals<'a>(
    rules: &'a HPAScalingRules,
    current: i32,
    past: &'a Past,
    now: Timestamp,
    pods: fn(i32, i32) -> i32,
    percent: fn(i32, i32) -> i32,
) -> impl Iterator<Item = i32> + 'a {
    rules.policies.iter().flatten().map(move |policy| {
        let (ups, downs) = changed(past, policy.period_seconds, now);
        let before = current - ups + downs;
        let allowed = if policy.type_ == "Pods" { pods } else { percent };
        allowed(before, policy.value)
    })
}

fn fastest_up(rules: &HPAScalingRules, current: i32, past: &Past, now: Timestamp) -> i32 {
    let proposals = proposals(rules, current, past, now, i32::saturating_add, percent_up);
    choose(rules, proposals, true, current)
}

fn slowest_down(rules: &HPAScalingRules, current: i32, past: &Past, now: Timestamp) -> i32 {
    let proposals = proposals(rules, current, past, now, i32::saturating_sub, percent_down);
    choose(rules, proposals, false, current)
}

fn percent_up(before: i32, percent: i32) -> i32 {
    let grown = i64::from(before) * (100 + i64::from(percent));
    i32::try_from(grown.div_euclid(100) + i64::from(grown.rem_euclid(100) > 0)).unwrap_or(i32::MAX)
}

fn percent_down(before: i32, percent: i32) -> i32 {
    i32::try_from(i64::from(before) * (100 - i64::from(percent)) / 100).unwrap_or(0)
}

/// How long until the next look.
pub(super) const PERIOD: Duration = Duration::from_secs(15);
