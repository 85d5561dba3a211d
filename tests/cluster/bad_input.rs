//! Whatever is sent, the answer is a Status with upstream's code and reason; the server neither hangs nor falls.

use serde_json::{Value, json};
use tests::Cluster;

/// What is sent, and what must come back: `method`, `path`, content type, body; code, reason, part of the message.
type Case = (&'static str, &'static str, &'static str, String, u16, &'static str, &'static str);

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const PATCH: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const A: &str = "/api/v1/namespaces/default/configmaps/a";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// Requests with the administrator's certificate.
struct Client<'a> {
    cluster: &'a Cluster,
}

impl<'a> Client<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        let script = r#"umask 077; cd "$HOME"
            for part in users[0].user.client-certificate-data:c.crt users[0].user.client-key-data:c.key clusters[0].cluster.certificate-authority-data:ca.crt
            do kubectl config view --raw -o "jsonpath={.${part%%:*}}" | base64 -d > "${part##*:}"; done
            kubectl config view -o 'jsonpath={.clusters[0].cluster.server}' > server"#;
        let output = cluster.command("sh").args(["-c", script]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Self { cluster }
    }

    /// Code and body of an answer.
    fn send(&self, method: &str, path: &str, content_type: &str, body: &str, more: &[&str]) -> (u16, String) {
        let file = self.cluster.directory().join("body");
        std::fs::write(&file, body).unwrap();
        let server = std::fs::read_to_string(self.cluster.directory().join("server")).unwrap();
        let mut command = self.cluster.command("curl");
        command.current_dir(self.cluster.directory()).args(["-sS", "-g", "--max-time", "20", "-X", method]);
        command.args(["--cert", "c.crt", "--key", "c.key", "--cacert", "ca.crt", "-w", "\n%{http_code}"]);
        command.args(["-H", &format!("Content-Type: {content_type}")]).args(more);
        if !body.is_empty() {
            command.args(["--data-binary", "@body"]);
        }
        let output = command.arg(format!("{server}{path}")).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, code) = text.rsplit_once('\n').unwrap_or(("", &text));
        (code.parse().unwrap_or(0), format!("{body}{}", String::from_utf8_lossy(&output.stderr)))
    }

    fn check(&self, case: &Case) -> Option<String> {
        let (method, path, content_type, body, code, reason, message) = case;
        let (got, text) = self.send(method, path, content_type, body, &[]);
        let status: Value = serde_json::from_str(&text).unwrap_or_default();
        let field = |name: &str| status.get(name).and_then(Value::as_str).unwrap_or_default();
        let fits = got == *code
            && field("kind") == "Status"
            && field("reason") == *reason
            && field("message").contains(message)
            && status.get("code") == Some(&json!(code));
        let shown: String = path.chars().take(120).collect();
        let sent: String = body.chars().take(120).collect();
        let said: String = text.chars().take(600).collect();
        (!fits).then(|| {
            format!(
                "{method} {shown} {content_type} {sent}\n  expected {code} {reason} {message:?}\n  got {got} {said}"
            )
        })
    }
}

fn malformed() -> Vec<Case> {
    let deep = |open: &str, close: &str| format!("{{\"data\": {}{}}}", open.repeat(100_000), close.repeat(100_000));
    let large = format!(r#"{{"metadata": {{"name": "x"}}, "data": {{"a": "{}"}}}}"#, "x".repeat(3 << 20));
    vec![
        ("POST", MAPS, JSON, "{".into(), 400, "BadRequest", ""),
        ("POST", MAPS, JSON, "[]".into(), 400, "BadRequest", ""),
        ("POST", MAPS, JSON, "null".into(), 400, "BadRequest", ""),
        ("POST", MAPS, JSON, "\"x\"".into(), 400, "BadRequest", ""),
        ("POST", MAPS, JSON, String::new(), 400, "BadRequest", ""),
        ("POST", MAPS, JSON, "{} {}".into(), 400, "BadRequest", ""),
        ("POST", MAPS, YAML, "a: [".into(), 400, "BadRequest", ""),
        ("POST", MAPS, YAML, "a: &x [*x]".into(), 400, "BadRequest", ""),
        ("POST", MAPS, YAML, bomb(), 400, "BadRequest", ""),
        ("POST", MAPS, JSON, deep("[", "]"), 400, "BadRequest", ""),
        ("POST", MAPS, YAML, deep("[", "]"), 400, "BadRequest", ""),
        ("POST", MAPS, JSON, deep("{\"a\":", "}"), 400, "BadRequest", ""),
        ("POST", MAPS, JSON, large.clone(), 413, "RequestEntityTooLarge", "limit is 3145728"),
        ("PATCH", A, MERGE, large, 413, "RequestEntityTooLarge", "limit is 3145728"),
        (
            "POST",
            MAPS,
            "text/html",
            "{}".into(),
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format",
        ),
        ("POST", MAPS, "application/vnd.kubernetes.protobuf", "junk".into(), 400, "BadRequest", ""),
        ("POST", MAPS, "application/vnd.kubernetes.protobuf", "k8s\0\u{1}\u{2}".into(), 400, "BadRequest", ""),
    ]
}

/// Well formed, but not what the fields are made for.
fn mistyped() -> Vec<Case> {
    vec![
        (
            "POST",
            MAPS,
            JSON,
            r#"{"metadata": "x"}"#.into(),
            400,
            "BadRequest",
            "json: cannot unmarshal string into Go struct field ConfigMap.metadata",
        ),
        (
            "POST",
            MAPS,
            JSON,
            r#"{"data": {"a": 1}}"#.into(),
            400,
            "BadRequest",
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        ("POST", MAPS, JSON, r#"{"kind": "Secret", "apiVersion": "v1"}"#.into(), 400, "BadRequest", ""),
        (
            "POST",
            MAPS,
            JSON,
            r#"{"kind": "ConfigMap", "apiVersion": "v2"}"#.into(),
            400,
            "BadRequest",
            "does not match the expected API version",
        ),
        (
            "POST",
            "/api/v1/namespaces/default/configmaps?fieldValidation=Strict",
            JSON,
            r#"{"metadata": {"name": "x"}, "dta": {}}"#.into(),
            400,
            "BadRequest",
            "strict decoding error: unknown field \"dta\"",
        ),
        (
            "POST",
            "/api/v1/namespaces/default/configmaps?fieldValidation=Strict",
            JSON,
            r#"{"metadata": {"name": "x"}, "data": {"a": "b"}, "data": {}}"#.into(),
            400,
            "BadRequest",
            "strict decoding error: duplicate field \"data\"",
        ),
        (
            "POST",
            "/api/v1/namespaces/default/configmaps?fieldValidation=x",
            JSON,
            "{}".into(),
            422,
            "Invalid",
            "fieldValidation",
        ),
        ("POST", "/api/v1/namespaces/default/configmaps?dryRun=x", JSON, "{}".into(), 422, "Invalid", "dryRun"),
    ]
}

/// A small text that would unfold to billions of items.
fn bomb() -> String {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for i in 1..12 {
        let items = vec![format!("*a{}", i - 1); 10].join(",");
        text.push_str(&format!("a{i}: &a{i} [{items}]\n"));
    }
    text
}

fn objects() -> Vec<Case> {
    let map = |name: &str| json!({"metadata": {"name": name}}).to_string();
    let labelled = json!({"metadata": {"name": "x", "labels": {"a b": "c"}}}).to_string();
    let elsewhere = json!({"metadata": {"name": "x", "namespace": "other"}}).to_string();
    let pod = json!({"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "image": ""}]}}).to_string();
    let stale = json!({"metadata": {"name": "a", "resourceVersion": "1"}}).to_string();
    let garbage = json!({"metadata": {"name": "a", "resourceVersion": "x"}}).to_string();
    vec![
        (
            "POST",
            MAPS,
            JSON,
            map("A_b"),
            422,
            "Invalid",
            "ConfigMap \"A_b\" is invalid: metadata.name: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain",
        ),
        (
            "POST",
            MAPS,
            JSON,
            map(""),
            422,
            "Invalid",
            "metadata.name: Required value: name or generateName is required",
        ),
        ("POST", MAPS, JSON, map(&"x".repeat(300)), 422, "Invalid", "must be no more than 253 characters"),
        ("POST", MAPS, JSON, labelled, 422, "Invalid", "metadata.labels: Invalid value: \"a b\""),
        (
            "POST",
            MAPS,
            JSON,
            elsewhere,
            400,
            "BadRequest",
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        ("POST", "/api/v1/configmaps", JSON, map("x"), 405, "MethodNotAllowed", ""),
        (
            "POST",
            "/api/v1/namespaces/nowhere/configmaps",
            JSON,
            map("x"),
            404,
            "NotFound",
            "namespaces \"nowhere\" not found",
        ),
        ("POST", MAPS, JSON, map("a"), 409, "AlreadyExists", "configmaps \"a\" already exists"),
        ("POST", PODS, JSON, pod, 422, "Invalid", "spec.containers[0].image: Required value"),
        ("PUT", A, JSON, stale, 409, "Conflict", "the object has been modified"),
        ("PUT", A, JSON, garbage, 422, "Invalid", "metadata.resourceVersion: Invalid value"),
        (
            "PUT",
            A,
            JSON,
            map("b"),
            400,
            "BadRequest",
            "the name of the object (b) does not match the name on the URL (a)",
        ),
        ("PUT", "/api/v1/nodes/none", JSON, map("none"), 404, "NotFound", "nodes \"none\" not found"),
    ]
}

fn absences_and_deletions() -> Vec<Case> {
    vec![
        (
            "GET",
            "/api/v1/namespaces/default/configmaps/none",
            JSON,
            String::new(),
            404,
            "NotFound",
            "configmaps \"none\" not found",
        ),
        (
            "DELETE",
            "/api/v1/namespaces/default/configmaps/none",
            JSON,
            String::new(),
            404,
            "NotFound",
            "configmaps \"none\" not found",
        ),
        ("DELETE", A, JSON, r#"{"propagationPolicy": "x"}"#.into(), 422, "Invalid", "propagationPolicy"),
        ("DELETE", A, JSON, r#"{"gracePeriodSeconds": "x"}"#.into(), 400, "BadRequest", ""),
        ("DELETE", A, JSON, "[".into(), 400, "BadRequest", ""),
        (
            "DELETE",
            A,
            JSON,
            r#"{"preconditions": {"uid": "x"}}"#.into(),
            409,
            "Conflict",
            "Precondition failed: UID in precondition: x",
        ),
        (
            "DELETE",
            "/api/v1/namespaces/default/configmaps/a?gracePeriodSeconds=x",
            JSON,
            String::new(),
            400,
            "BadRequest",
            "",
        ),
    ]
}

fn paths() -> Vec<Case> {
    let get = |path, code, reason, message| ("GET", path, JSON, String::new(), code, reason, message);
    vec![
        get("/api/v1/nonsense", 404, "NotFound", "the server could not find the requested resource"),
        get("/api/v2/pods", 404, "NotFound", ""),
        get("/apis/none.example.com/v1/things", 404, "NotFound", ""),
        get("/apis/apps/v9/deployments", 404, "NotFound", ""),
        get("/apis/apps/v9", 404, "NotFound", ""),
        get("/nonsense", 404, "NotFound", ""),
        get("/api/v1/namespaces/default/pods/a/nonsense", 404, "NotFound", ""),
        get("/api/v1/namespaces/default/configmaps/..%2f..", 400, "BadRequest", "Name parameter invalid"),
        get("/api/v1/namespaces/default/configmaps/%00", 404, "NotFound", ""),
        get("/api/v1/pods?labelSelector=a+b+c+(", 400, "BadRequest", "unable to parse requirement"),
        get("/api/v1/pods?labelSelector=a%3D%3Db%21", 400, "BadRequest", "unable to parse requirement"),
        get(
            "/api/v1/pods?fieldSelector=spec.nonsense%3Dx",
            400,
            "BadRequest",
            "field label not supported: spec.nonsense",
        ),
        get("/api/v1/pods?fieldSelector=x", 400, "BadRequest", "invalid selector"),
        get("/api/v1/pods?continue=nonsense", 400, "BadRequest", "continue key is not valid"),
        get("/api/v1/pods?limit=x", 400, "BadRequest", ""),
        get("/api/v1/pods?resourceVersion=x", 400, "BadRequest", ""),
        get("/api/v1/pods?resourceVersionMatch=Exact", 422, "Invalid", "resourceVersionMatch"),
        get("/api/v1/pods?watch=true&resourceVersion=x", 400, "BadRequest", "resourceVersion"),
        get(
            "/api/v1/pods?watch=true&resourceVersion=99999999&timeoutSeconds=1",
            504,
            "Timeout",
            "Too large resource version",
        ),
        get("/api/v1/pods?resourceVersion=99999999", 504, "Timeout", "Too large resource version"),
        ("POST", "/api/v1/componentstatuses", JSON, "{}".into(), 405, "MethodNotAllowed", ""),
        ("PATCH", "/api/v1/namespaces/default/configmaps", MERGE, "{}".into(), 405, "MethodNotAllowed", ""),
        ("PUT", "/api/v1/namespaces/default/configmaps", JSON, "{}".into(), 405, "MethodNotAllowed", ""),
        ("POST", A, JSON, "{}".into(), 405, "MethodNotAllowed", ""),
        ("OPTIONS", A, JSON, String::new(), 405, "MethodNotAllowed", ""),
        ("BREW", A, JSON, String::new(), 405, "MethodNotAllowed", ""),
    ]
}

fn patches() -> Vec<Case> {
    vec![
        (
            "PATCH",
            A,
            JSON,
            "{}".into(),
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json",
        ),
        ("PATCH", A, PATCH, "{}".into(), 400, "BadRequest", ""),
        ("PATCH", A, PATCH, "[".into(), 400, "BadRequest", ""),
        ("PATCH", A, PATCH, r#"[{"op": "nonsense", "path": "/data"}]"#.into(), 422, "Invalid", ""),
        (
            "PATCH",
            A,
            PATCH,
            r#"[{"op": "remove", "path": "/data/none"}]"#.into(),
            422,
            "Invalid",
            "the server rejected our request due to an error in our request",
        ),
        ("PATCH", A, PATCH, r#"[{"op": "test", "path": "/data/x", "value": "no"}]"#.into(), 422, "Invalid", ""),
        ("PATCH", A, PATCH, r#"[{"op": "replace", "path": "", "value": 3}]"#.into(), 400, "BadRequest", ""),
        ("PATCH", A, MERGE, "[]".into(), 400, "BadRequest", ""),
        ("PATCH", A, MERGE, r#"{"data": 3}"#.into(), 400, "BadRequest", "cannot unmarshal number"),
        ("PATCH", A, MERGE, r#"{"metadata": {"name": "b"}}"#.into(), 400, "BadRequest", ""),
        ("PATCH", A, MERGE, r#"{"metadata": {"uid": "b"}}"#.into(), 409, "Conflict", "Precondition failed: UID"),
        (
            "PATCH",
            A,
            MERGE,
            r#"{"metadata": {"resourceVersion": "1"}}"#.into(),
            409,
            "Conflict",
            "the object has been modified",
        ),
        ("PATCH", A, STRATEGIC, r#"{"data": {"$patch": 3}}"#.into(), 400, "BadRequest", ""),
        ("PATCH", A, STRATEGIC, "3".into(), 400, "BadRequest", ""),
        ("PATCH", A, APPLY, "a: [".into(), 400, "BadRequest", ""),
        ("PATCH", A, APPLY, "{}".into(), 400, "BadRequest", ""),
        (
            "PATCH",
            "/api/v1/namespaces/default/configmaps/a?fieldManager=x",
            APPLY,
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: b}}".into(),
            400,
            "BadRequest",
            "",
        ),
        (
            "PATCH",
            "/api/v1/namespaces/default/configmaps/none",
            MERGE,
            "{}".into(),
            404,
            "NotFound",
            "configmaps \"none\" not found",
        ),
    ]
}

#[test]
fn every_answer_is_a_status() {
    let cluster = Cluster::prepared();
    cluster.up(&[]);
    cluster.kubectl(&["create", "configmap", "a", "--from-literal=x=y"]).must();
    let client = Client::new(&cluster);
    let cases = [malformed(), mistyped(), objects(), absences_and_deletions(), paths(), patches()].concat();
    let wrong: Vec<String> = cases.iter().filter_map(|case| client.check(case)).collect();
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));

    let long = |length: usize| format!("{MAPS}?labelSelector={}", "x".repeat(length));
    let (code, text) = client.send("GET", &long(60_000), JSON, "", &[]);
    assert_eq!(code, 400, "{text}");
    let (code, text) = client.send("GET", &long(100_000), JSON, "", &["--http1.1"]);
    assert!((400..500).contains(&code), "{code} {text}");
    let (code, text) = client.send("GET", A, JSON, "", &["--head"]);
    assert!(code == 200 || code == 405, "{code} {text}");
    let (code, _) = client.send("GET", A, JSON, "", &["-H", "Accept: text/html"]);
    assert_eq!(code, 406);
    cluster.kubectl(&["get", "configmap", "a"]).must();
    assert_eq!(cluster.kubectl(&["get", "--raw", "/readyz"]).must(), "ok");
}

#[test]
fn slow_and_silent_clients_do_not_hold_up_others() {
    let cluster = Cluster::prepared();
    cluster.up(&[]);
    let client = Client::new(&cluster);
    let script = r#"cd "$HOME"; (printf '{"metadata":'; sleep 6) | curl -sS --max-time 5 --cert c.crt --key c.key --cacert ca.crt \
        -H 'Content-Type: application/json' -H 'Transfer-Encoding: chunked' -T - -X POST -w '%{http_code}' "$(cat server)/api/v1/namespaces/default/configmaps""#;
    let mut slow = cluster.command("sh").args(["-c", script]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    for _ in 0..20 {
        let (code, text) = client.send("GET", MAPS, JSON, "", &[]);
        assert_eq!(code, 200, "{text}");
    }
    // curl gives up by itself: nothing of it stays behind.
    slow.wait().unwrap();
}

#[test]
fn rights_are_not_given_away_by_those_who_lack_them() {
    let cluster = Cluster::prepared();
    cluster.up(&[]);
    let user = "--as=clerk";
    let rules = "rules: [{apiGroups: [rbac.authorization.k8s.io], resources: [roles, rolebindings], verbs: ['*']}]";
    cluster.apply(&format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: clerk}}\n{}\n",
        rules.replace("'*'", "get, create, update, patch")
    ));
    cluster.kubectl(&["create", "rolebinding", "clerk", "--role=clerk", "--user=clerk"]).must();
    let role = ["create", "role", "reader", "--verb=get", "--resource=secrets", user];
    let error = cluster.kubectl(&role).must_fail();
    assert!(error.contains("user \"clerk\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}"), "{error}");
    let bind = ["create", "rolebinding", "more", "--clusterrole=cluster-admin", "--user=clerk", user];
    assert!(cluster.kubectl(&bind).must_fail().contains("is attempting to grant RBAC permissions not currently held"));
    cluster
        .kubectl(&[
            "create",
            "role",
            "binder",
            "--verb=bind",
            "--resource=clusterroles.rbac.authorization.k8s.io",
            "--resource-name=cluster-admin",
        ])
        .must();
    cluster.kubectl(&["create", "rolebinding", "binder", "--role=binder", "--user=clerk"]).must();
    cluster.kubectl(&bind).must();
    cluster.kubectl(&role).must();
}
