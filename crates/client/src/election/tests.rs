use k8s_openapi::api::coordination::v1::LeaseSpec;

use super::*;

fn election(identity: &str) -> Election {
    Election { identity: identity.into(), ..Election::new("test", "host") }
}

fn lease(spec: LeaseSpec) -> Lease {
    Lease { spec: Some(spec), ..Lease::default() }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_lease_lasts_from_when_its_renewal_was_seen_whatever_the_clocks_say() {
    let (a, b) = (election("a"), election("b"));
    // The leader's clock is far off.
    let record = lease(record::next(None, &a, at(1)));
    let start = Instant::now();
    let seen = Seen::after(None, &record, start);
    assert_eq!(record::judge(Some(&seen), &b, start), Step::Wait(start + b.lease));
    let later = start + Duration::from_secs(2);
    let seen = Seen::after(Some(seen), &record, later);
    assert_eq!(record::judge(Some(&seen), &b, later), Step::Wait(start + b.lease), "not renewed: it runs on");
    let renewed = lease(record::next(Some(&record), &a, at(2)));
    let seen = Seen::after(Some(seen), &renewed, later);
    assert_eq!(record::judge(Some(&seen), &b, later), Step::Wait(later + b.lease));
    let over = later + b.lease;
    let seen = Seen::after(Some(seen), &renewed, over);
    assert_eq!(record::judge(Some(&seen), &b, over), Step::Ours);
    assert_eq!(record::judge(Some(&seen), &a, start), Step::Ours, "the holder renews at any time");
}

#[test]
fn the_record_says_since_when_and_how_often_it_changed_hands() {
    let (a, b) = (election("a"), election("b"));
    let first = lease(record::next(None, &a, at(10)));
    let kept = lease(record::next(Some(&first), &a, at(11)));
    let spec = kept.spec.clone().unwrap();
    assert_eq!((spec.lease_transitions, spec.acquire_time.map(|t| t.0)), (Some(0), Some(at(10))));
    assert_eq!((spec.renew_time.map(|t| t.0), spec.lease_duration_seconds), (Some(at(11)), Some(3)));
    let taken = record::next(Some(&kept), &b, at(20));
    assert_eq!((taken.lease_transitions, taken.acquire_time.map(|t| t.0)), (Some(1), Some(at(20))));
    assert_eq!(taken.holder_identity.as_deref(), Some("b"));
}

#[test]
fn the_leader_stops_before_others_may_start() {
    let election = election("a");
    assert!(election.deadline + election.retry <= election.lease);
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_time_is_over_changes_nothing() {
    let answer = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        Ok::<_, tower::BoxError>(http::Response::new(kube::client::Body::from(b"{}".to_vec())))
    });
    let guard = Guard::new(Instant::now() + Duration::from_secs(2));
    let client = guard.wrap(kube::Client::new(answer, "default"));
    let send = |method: &str| {
        let request = http::Request::builder().method(method).uri("/api").body(kube::client::Body::empty()).unwrap();
        client.send(request)
    };
    assert!(send("POST").await.is_ok());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(send("POST").await.is_err() && send("PATCH").await.is_err());
    assert!(send("GET").await.is_ok(), "reading is nobody's privilege");
    guard.extend(Instant::now() + Duration::from_secs(2));
    assert!(send("POST").await.is_ok());
    guard.close();
    assert!(send("POST").await.is_err());
}
