use super::*;
use crate::pod::Wishes;

fn pod(uid: &str, priority: i32) -> Arc<PodInfo> {
    Arc::new(PodInfo { uid: uid.into(), priority, wishes: Some(Box::default()), ..PodInfo::default() })
}

fn take(queue: &mut Queue, now: Instant) -> String {
    match queue.next(now) {
        Next::Pod(pod) => pod.uid.clone(),
        Next::At(at) => format!("in {} ms", (at - now).as_millis()),
        Next::Never => "never".into(),
    }
}

#[test]
fn the_more_important_comes_first_then_the_older() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.set(pod("a", 0), now);
    queue.set(pod("b", 0), now);
    queue.set(pod("c", 7), now);
    assert_eq!([0; 4].map(|_| take(&mut queue, now)), ["c", "a", "b", "never"]);
}

#[test]
fn an_unschedulable_pod_waits_for_an_event_and_its_backoff() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.set(pod("a", 0), now);
    assert_eq!(take(&mut queue, now), "a");
    queue.failed("a", HashSet::from(["NodeResourcesFit"]), false, now);
    assert_eq!(take(&mut queue, now + Duration::from_secs(60)), "never");
    queue.wake(now, Event::PodGone);
    assert_eq!(take(&mut queue, now), "in 1000 ms");
    let later = now + Duration::from_secs(1);
    assert_eq!(take(&mut queue, later), "a");
    queue.failed("a", HashSet::from(["NodeResourcesFit"]), false, later);
    queue.wake(later + Duration::from_secs(2), Event::PodGone);
    assert_eq!(take(&mut queue, later + Duration::from_secs(2)), "a", "the back-off of 2 s is over");
}

#[test]
fn an_event_during_the_attempt_is_not_missed() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.set(pod("a", 0), now);
    assert_eq!(take(&mut queue, now), "a");
    queue.wake(now, Event::PodGone);
    queue.failed("a", HashSet::from(["NodeResourcesFit"]), false, now);
    assert_eq!(take(&mut queue, now), "in 1000 ms");
}

#[test]
fn backoff_doubles_up_to_ten_seconds() {
    let seconds: Vec<_> = (1..7).map(|n| backoff(n).as_secs()).collect();
    assert_eq!(seconds, [1, 2, 4, 8, 10, 10]);
}

#[test]
fn a_gated_pod_is_tried_when_its_last_gate_is_gone() {
    let now = Instant::now();
    let mut queue = Queue::default();
    let wishes = Wishes { gates: vec!["g".into()], ..Wishes::default() };
    queue.set(Arc::new(PodInfo { uid: "a".into(), wishes: Some(Box::new(wishes)), ..PodInfo::default() }), now);
    queue.wake(now, Event::PodGone);
    assert_eq!(take(&mut queue, now), "never");
    queue.set(pod("a", 0), now);
    assert_eq!(take(&mut queue, now), "a");
}

#[test]
fn a_removed_pod_is_not_tried() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.set(pod("a", 0), now);
    queue.remove("a");
    assert_eq!(take(&mut queue, now), "never");
    queue.set(pod("b", 0), now);
    assert_eq!(take(&mut queue, now), "b");
    queue.remove("b");
    queue.failed("b", HashSet::from(["NodeResourcesFit"]), true, now);
    assert_eq!(take(&mut queue, now), "never");
}

#[test]
fn a_changed_wish_is_a_reason_to_try_again_a_changed_condition_is_not() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.set(pod("a", 0), now);
    assert_eq!(take(&mut queue, now), "a");
    queue.failed("a", HashSet::from(["NodeResourcesFit"]), false, now);
    let mut changed = (*pod("a", 0)).clone();
    changed.wishes.as_mut().unwrap().condition = Some(Default::default());
    queue.set(Arc::new(changed.clone()), now);
    assert_eq!(take(&mut queue, now), "never");
    changed.wishes.as_mut().unwrap().node_selector.insert("a".into(), "b".into());
    queue.set(Arc::new(changed), now);
    assert_eq!(take(&mut queue, now), "in 1000 ms");
}

#[test]
fn only_the_event_that_can_help_wakes_a_pod() {
    let now = Instant::now();
    let mut queue = Queue::default();
    queue.set(pod("a", 0), now);
    assert_eq!(take(&mut queue, now), "a");
    queue.failed("a", HashSet::from(["TaintToleration"]), false, now);
    for event in [Event::PodGone, Event::PodPlaced, Event::NodeRoom, Event::Storage, Event::NodeLabels] {
        queue.wake(now, event);
        assert_eq!(take(&mut queue, now), "never", "{event:?}");
    }
    queue.wake(now, Event::NodeTaints);
    assert_eq!(take(&mut queue, now), "in 1000 ms");
}
