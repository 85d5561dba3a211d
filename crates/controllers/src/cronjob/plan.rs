//! When a CronJob's next Job is due, which Jobs it lets go, what its status says. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::schedule::{self, Schedule};
use client::{EventType, reference};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use crate::common::owner::controller_reference;
use crate::job::is_finished;

/// Annotation of a Job: when it was due.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// More missed times than this are worth a warning.
const MANY: usize = 100;
/// A little later than due, so that the clock has surely passed it.
const MARGIN: Duration = Duration::from_millis(100);

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Happening {
    pub(super) kind: EventType,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Old Jobs, and running ones that are replaced.
    pub(super) delete: Vec<Arc<Job>>,
    pub(super) create: Option<Box<Job>>,
    /// Without what is created: that is added once it is there.
    pub(super) status: CronJobStatus,
    /// When the created one was due.
    pub(super) due: Option<Timestamp>,
    pub(super) events: Vec<Happening>,
    pub(super) again: Option<Duration>,
}

impl Plan {
    fn tell(&mut self, kind: EventType, reason: &'static str, message: impl Into<String>) {
        self.events.push(Happening { kind, reason, message: message.into() });
    }
}

fn name(job: &Job) -> &str {
    job.metadata.name.as_deref().unwrap_or_default()
}

/// `jobs` are the CronJob's own.
pub(super) fn plan(cron: &CronJob, jobs: &[Arc<Job>], now: Timestamp) -> Plan {
    let mut plan = Plan { status: cron.status.clone().unwrap_or_default(), ..Plan::default() };
    let spec = &cron.spec;
    refresh(jobs, &mut plan);
    plan.delete = surplus(spec.successful_jobs_history_limit, jobs, true);
    plan.delete.extend(surplus(spec.failed_jobs_history_limit, jobs, false));
    if cron.metadata.deletion_timestamp.is_some() || spec.suspend == Some(true) {
        return plan;
    }
    let zone = match &spec.time_zone {
        None => TimeZone::UTC,
        Some(name) => match schedule::zone(name) {
            Some(zone) => zone,
            None => {
                let why = format!("invalid timeZone: {name:?}: unknown time zone {name}");
                plan.tell(EventType::Warning, "UnknownTimeZone", why);
                return plan;
            }
        },
    };
    let schedule = match Schedule::parse(&spec.schedule) {
        Ok(schedule) => schedule,
        Err(why) => {
            let why = format!("unparseable schedule: {} : {why}", spec.schedule);
            plan.tell(EventType::Warning, "UnparseableSchedule", why);
            return plan;
        }
    };
    let clock = Clock { schedule, zone, now };
    plan.again = clock.until_next();
    if let Some(due) = clock.due(cron, &mut plan) {
        run(cron, jobs, due, &clock, &mut plan);
    }
    plan
}

/// Brings the list of running Jobs up to date.
fn refresh(jobs: &[Arc<Job>], plan: &mut Plan) {
    let listed: Vec<String> =
        plan.status.active.iter().flatten().filter_map(|reference| reference.uid.clone()).collect();
    for job in jobs {
        let known = job.metadata.uid.as_ref().is_some_and(|uid| listed.contains(uid));
        match (is_finished(job), known) {
            (None, false) => {
                let message = format!("Saw a job that the controller did not create or forgot: {}", name(job));
                plan.tell(EventType::Warning, "UnexpectedJob", message);
            }
            (Some(well), true) => {
                let condition = if well { "Complete" } else { "Failed" };
                let message = format!("Saw completed job: {}, condition: {condition}", name(job));
                plan.tell(EventType::Normal, "SawCompletedJob", message);
            }
            _ => {}
        }
        let completed = job.status.as_ref().and_then(|status| status.completion_time.clone());
        if let Some(time) = completed.filter(|_| is_finished(job) == Some(true)) {
            let last = plan.status.last_successful_time.get_or_insert_with(|| time.clone());
            last.0 = last.0.max(time.0);
        }
    }
    let runs = |uid: &Option<String>| jobs.iter().any(|job| job.metadata.uid == *uid && is_finished(job).is_none());
    let active = plan.status.active.take().unwrap_or_default();
    let (left, gone): (Vec<_>, Vec<_>) = active.into_iter().partition(|reference| runs(&reference.uid));
    for reference in gone.iter().filter(|gone| jobs.iter().all(|job| job.metadata.uid != gone.uid)) {
        let name = reference.name.as_deref().unwrap_or_default();
        plan.tell(EventType::Normal, "MissingJob", format!("Active job went missing: {name}"));
    }
    plan.status.active = Some(left).filter(|left| !left.is_empty());
}

/// The oldest Jobs that ended that way, beyond the limit.
fn surplus(limit: Option<i32>, jobs: &[Arc<Job>], well: bool) -> Vec<Arc<Job>> {
    let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { return Vec::new() };
    let mut ended: Vec<_> = jobs.iter().filter(|job| is_finished(job) == Some(well)).cloned().collect();
    let started = |job: &Job| job.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
    ended.sort_by_key(|job| (started(job), name(job).to_owned()));
    ended.truncate(ended.len().saturating_sub(limit));
    ended
}

struct Clock {
    schedule: Schedule,
    zone: TimeZone,
    now: Timestamp,
}

impl Clock {
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.schedule.next(after, &self.zone)
    }

    fn until_next(&self) -> Option<Duration> {
        let wait = Duration::try_from(self.next(self.now)?.duration_since(self.now)).ok()?;
        Some(wait + MARGIN)
    }

    /// The latest time that has passed since the last one that was seen to; none if there is none.
    fn due(&self, cron: &CronJob, plan: &mut Plan) -> Option<Timestamp> {
        let created = cron.metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default();
        let mut since = plan.status.last_schedule_time.as_ref().map_or(created, |time| time.0);
        let deadline = cron.spec.starting_deadline_seconds;
        if let Some(seconds) = deadline {
            since = since.max(self.now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(since));
        }
        self.next(since).filter(|next| *next <= self.now)?;
        let missed = self.occurrences(since).take(MANY + 1).count();
        if missed > MANY {
            let message =
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            plan.tell(EventType::Warning, "TooManyMissedTimes", message);
        }
        // Not one by one over what may be years.
        for hours in [1, 24, 24 * 40, 24 * 800] {
            let window = self.now.checked_sub(SignedDuration::from_hours(hours)).unwrap_or(since).max(since);
            if let Some(last) = self.occurrences(window).last() {
                return Some(last);
            }
        }
        self.occurrences(since).last()
    }

    /// The times after `since` until now.
    fn occurrences(&self, since: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        std::iter::successors(self.next(since), |time| self.next(*time)).take_while(|time| *time <= self.now)
    }
}

fn run(cron: &CronJob, jobs: &[Arc<Job>], due: Timestamp, clock: &Clock, plan: &mut Plan) {
    let spec = &cron.spec;
    let deadline = spec.starting_deadline_seconds.map(SignedDuration::from_secs);
    if deadline.is_some_and(|deadline| due.checked_add(deadline).is_ok_and(|end| end < clock.now)) {
        let message = format!("Missed scheduled time to start a job: {due}");
        plan.tell(EventType::Warning, "MissSchedule", message);
        return;
    }
    let job = new_job(cron, due, &clock.zone);
    let active = plan.status.active.clone().unwrap_or_default();
    let seen = plan.status.last_schedule_time.as_ref().is_some_and(|time| time.0 >= due);
    if seen || active.iter().any(|reference| reference.name == job.metadata.name) {
        return;
    }
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if !active.is_empty() => {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.tell(EventType::Normal, "JobAlreadyActive", message);
            return;
        }
        Some("Replace") => {
            let replaced = |job: &&Arc<Job>| active.iter().any(|reference| reference.uid == job.metadata.uid);
            plan.delete.extend(jobs.iter().filter(replaced).cloned());
            plan.status.active = None;
        }
        _ => {}
    }
    plan.due = Some(due);
    plan.create = Some(Box::new(job));
}

fn new_job(cron: &CronJob, due: Timestamp, zone: &TimeZone) -> Job {
    let template = cron.spec.job_template.clone();
    let meta = template.metadata.unwrap_or_default();
    let mut annotations: BTreeMap<_, _> = meta.annotations.unwrap_or_default();
    let local = due.to_zoned(zone.clone());
    let local =
        if local.offset().is_zero() { due.to_string() } else { due.display_with_offset(local.offset()).to_string() };
    annotations.insert(SCHEDULED.into(), local);
    let minutes = due.as_second().div_euclid(60);
    Job {
        metadata: ObjectMeta {
            name: Some(format!("{}-{minutes}", cron.metadata.name.as_deref().unwrap_or_default())),
            namespace: cron.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(cron)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// The status once a Job is there that was due then.
pub(super) fn started(mut status: CronJobStatus, job: &Job, due: Timestamp) -> CronJobStatus {
    if is_finished(job).is_none() {
        status.active.get_or_insert_default().push(reference(job));
    }
    status.last_schedule_time = Some(Time(due));
    status
}
