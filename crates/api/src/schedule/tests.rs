use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Schedule, zone};

fn next(schedule: &str, time: &str, zone: &TimeZone) -> Option<String> {
    let time: Timestamp = time.parse().unwrap();
    Schedule::parse(schedule).unwrap().next(time, zone).map(|next| next.to_string())
}

#[test]
fn what_is_a_schedule() {
    for good in ["* * * * *", "*/5 0-6,12 1 jan-mar MON", "@daily", "@every 1h30m", "0 0 ? * *", "5/10 * * * *"] {
        assert!(Schedule::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "* * * *",
        "60 * * * *",
        "* * 0 * *",
        "*/0 * * * *",
        "5-1 * * * *",
        "@often",
        "@every x",
        "TZ=UTC * * * * *",
        "x * * * *",
    ] {
        assert!(Schedule::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_next_time() {
    let utc = TimeZone::UTC;
    for (schedule, time, expected) in [
        ("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
        ("*/15 * * * *", "2026-01-01T00:45:30Z", "2026-01-01T01:00:00Z"),
        ("5/20 * * * *", "2026-01-01T00:26:00Z", "2026-01-01T00:45:00Z"),
        ("30 4 1 * *", "2026-01-01T04:30:00Z", "2026-02-01T04:30:00Z"),
        ("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"),
        // Day of month or day of week, when both are said; 2026-01-05 is a Monday.
        ("0 0 13 * MON", "2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z"),
        ("0 0 * * MON", "2026-01-06T00:00:00Z", "2026-01-12T00:00:00Z"),
        ("@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"),
        ("@every 90s", "2026-01-01T00:00:00.5Z", "2026-01-01T00:01:30Z"),
    ] {
        assert_eq!(next(schedule, time, &utc).as_deref(), Some(expected), "{schedule}");
    }
    assert_eq!(next("59 23 31 2 *", "2026-01-01T00:00:00Z", &utc), None, "a day that does not exist");
}

#[test]
fn clocks_that_are_changed() {
    let zone = zone("America/New_York").unwrap();
    // 02:30 does not exist on 2026-03-08, and 01:30 exists twice on 2026-11-01.
    assert_eq!(next("30 2 * * *", "2026-03-07T12:00:00Z", &zone).unwrap(), "2026-03-09T06:30:00Z");
    assert_eq!(next("30 1 * * *", "2026-11-01T04:00:00Z", &zone).unwrap(), "2026-11-01T05:30:00Z");
    assert_eq!(next("30 1 * * *", "2026-11-01T05:30:00Z", &zone).unwrap(), "2026-11-01T06:30:00Z");
}

#[test]
fn zones_are_built_in() {
    assert!(zone("Europe/Berlin").is_some() && zone("UTC").is_some());
    assert!(zone("Mars/Olympus").is_none());
}
