//! Bootstrap tokens: what they let a machine do, what not, and for how long.

use serde_json::Value;
use tests::{Cluster, Output, eventually};

/// kubectl as somebody who has nothing but a token.
fn with_token(cluster: &Cluster, token: &str, arguments: &str) -> Output {
    let server = format!("https://{}:6443", cluster.address());
    let ca = cluster.directory().join("pki/ca.crt").display().to_string();
    let mut all = vec!["--kubeconfig=/dev/null", "--server", &server, "--certificate-authority", &ca, "--token", token];
    all.extend(arguments.split_whitespace());
    cluster.kubectl(&all)
}

fn is_refused(cluster: &Cluster, token: &str) -> Result<(), String> {
    let output = with_token(cluster, token, "get csr");
    let unauthorized = output.stderr.contains("Unauthorized") || output.stderr.contains("must be logged in");
    if !output.ok && unauthorized { Ok(()) } else { Err(output.stdout + &output.stderr) }
}

/// Asks as a kubelet would that has no certificate yet.
fn node_request(cluster: &Cluster, folder: &str) -> String {
    let script = format!(
        "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout {folder}/node.key \
         -subj /O=system:nodes/CN=system:node:second 2>/dev/null | base64 -w0"
    );
    let made = cluster.command("sh").args(["-c", &script]).output().unwrap();
    let request = String::from_utf8(made.stdout).unwrap();
    assert!(!request.is_empty(), "openssl made no request");
    let manifest = format!(
        "{{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {{name: second}}, \
         spec: {{request: {request}, signerName: kubernetes.io/kube-apiserver-client-kubelet, \
         usages: [digital signature, client auth]}}}}"
    );
    let file = format!("{folder}/request.yaml");
    std::fs::write(&file, manifest).unwrap();
    file
}

#[test]
fn a_token_gets_a_node_its_certificate_and_nothing_else() {
    let cluster = Cluster::prepared();
    cluster.up(&[]);
    let made = cluster.oxikube(&["token", "create", "--ttl", "1h", "--description", "for the new machine"]).must();
    let token = made.trim();
    let (id, _) = token.split_once('.').unwrap();
    let list: Value = serde_json::from_str(&cluster.oxikube(&["token", "list", "-o", "json"]).must()).unwrap();
    assert_eq!((&list[0]["token"], &list[0]["description"]), (&token.into(), &"for the new machine".into()));
    eventually("cluster-info is signed with it, and anybody may read that", || {
        let url = format!("https://{}:6443/api/v1/namespaces/kube-public/configmaps/cluster-info", cluster.address());
        let output = cluster.command("curl").args(["-sk", "--max-time", "5", &url]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if text.contains(&format!("jws-kubeconfig-{id}")) { Ok(()) } else { Err(text) }
    });

    let user = with_token(&cluster, token, "auth whoami -o json").must();
    let user: Value = serde_json::from_str(&user).unwrap();
    assert_eq!(user["status"]["userInfo"]["username"], format!("system:bootstrap:{id}"));
    let review = |audience: &str| {
        let spec = format!("{{token: {token}, audiences: [{audience}]}}");
        let review = format!("{{apiVersion: authentication.k8s.io/v1, kind: TokenReview, spec: {spec}}}");
        let answer = cluster.kubectl_with(&["create", "-o", "json", "-f", "-"], Some(&review)).must();
        serde_json::from_str::<Value>(&answer).unwrap()["status"].clone()
    };
    let reviewed = review("");
    assert_eq!(
        (&reviewed["authenticated"], &reviewed["user"]["username"]),
        (&true.into(), &format!("system:bootstrap:{id}").into())
    );
    assert_eq!(review("elsewhere")["authenticated"], false);
    let folder = cluster.directory().display().to_string();
    let file = node_request(&cluster, &folder);
    with_token(&cluster, token, &format!("create -f {file}")).must();
    let certificate = eventually("the certificate is there, and nobody was asked", || {
        let output = with_token(&cluster, token, "get csr second -o jsonpath={.status.certificate}");
        if output.ok && !output.stdout.is_empty() { Ok(output.stdout) } else { Err(output.stdout + &output.stderr) }
    });
    std::fs::write(format!("{folder}/node.b64"), certificate).unwrap();
    let decode = format!("base64 -d {folder}/node.b64 > {folder}/node.crt");
    assert!(cluster.command("sh").args(["-c", &decode]).status().unwrap().success());
    let node = cluster.kubectl(&[
        "--kubeconfig=/dev/null",
        &format!("--server=https://{}:6443", cluster.address()),
        &format!("--certificate-authority={folder}/pki/ca.crt"),
        &format!("--client-certificate={folder}/node.crt"),
        &format!("--client-key={folder}/node.key"),
        "auth",
        "whoami",
    ]);
    assert!(node.must().contains("system:node:second"));
    for forbidden in ["get secrets -A", "get nodes", "get pods"] {
        let refused = with_token(&cluster, token, forbidden).must_fail();
        assert!(refused.contains("Forbidden"), "{forbidden}: {refused}");
    }
}

#[test]
fn a_token_that_is_wrong_deleted_or_over_lets_nobody_in() {
    let cluster = Cluster::prepared();
    cluster.up(&[]);
    let token = "abcdef.0123456789abcdef";
    cluster.oxikube(&["token", "create", token]).must();
    with_token(&cluster, token, "get csr").must();
    is_refused(&cluster, "abcdef.0123456789abcdee").unwrap();
    is_refused(&cluster, "zzzzzz.0123456789abcdef").unwrap();
    let twice = cluster.oxikube(&["token", "create", token]).must_fail();
    assert!(twice.contains("there is a token abcdef already"), "{twice}");
    let bad = cluster.oxikube(&["token", "create", "abcdef"]).must_fail();
    assert!(bad.contains("this is no token"), "{bad}");

    assert!(cluster.oxikube(&["token", "list"]).must().contains(token));
    cluster.oxikube(&["token", "delete", "abcdef"]).must();
    is_refused(&cluster, token).unwrap();
    let again = cluster.oxikube(&["token", "delete", "abcdef"]).must_fail();
    assert!(again.contains("there is no token abcdef"), "{again}");

    let short = cluster.oxikube(&["token", "create", "--ttl", "1s"]).must();
    eventually("its time is over", || is_refused(&cluster, short.trim()));
    eventually("it is forgotten", || {
        let list = cluster.oxikube(&["token", "list"]).must();
        if list.contains(short.trim()) { Err(list) } else { Ok(()) }
    });
}
