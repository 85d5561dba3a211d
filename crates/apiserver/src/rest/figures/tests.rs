use serde_json::json;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn a_rate_is_between_two_looks() {
    let point = |second: i64, nanoseconds: u64| Point { at: at(second), nanoseconds, bytes: 1024 };
    let used = since(point(10, 1_000_000_000), point(20, 6_000_000_000)).unwrap();
    assert_eq!((used.nanocores, used.window.as_secs()), (500_000_000, 10));
    assert_eq!(since(point(10, 5), point(20, 1)), None, "a container that was started anew counts from zero");
    assert_eq!(since(point(10, 5), point(10, 5)), None);
}

#[test]
fn summaries_become_objects() {
    let figures = |nanoseconds: u64, second: i64| {
        json!({"name": "c", "cpu": {"time": at(second).to_string(), "usageCoreNanoSeconds": nanoseconds},
            "memory": {"workingSetBytes": 2048}})
    };
    let summary = |nanoseconds: u64, second: i64| {
        json!({"node": figures(nanoseconds, second), "pods": [
            {"podRef": {"namespace": "n", "name": "p"}, "containers": [figures(nanoseconds, second)]}]})
    };
    let (before, last) = (read("a", &summary(0, 0)), read("a", &summary(500_000_000, 10)));
    let uses: HashMap<_, _> =
        last.iter().map(|(key, point)| (key.clone(), since(*before.get(key).unwrap(), *point).unwrap())).collect();
    let item = node(&json!({"metadata": {"name": "a"}}), &uses).unwrap();
    assert_eq!(item.get("usage"), Some(&json!({"cpu": "50000000n", "memory": "2Ki"})));
    let mut object = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"containers": [{"name": "c"}]},
        "status": {"phase": "Running"}});
    let item = pod(&object, &uses).unwrap();
    assert_eq!(item.pointer("/containers/0/usage/cpu"), Some(&json!("50000000n")));
    assert_eq!(item.get("window"), Some(&json!("10.000s")));
    object["spec"]["containers"][0]["name"] = json!("other");
    assert_eq!(pod(&object, &uses), None);
}
