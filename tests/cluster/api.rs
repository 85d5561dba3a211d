//! The API as kubectl sees it.

use tests::{Cluster, eventually};

#[test]
fn kubectl_creates_changes_watches_and_deletes() {
    let cluster = Cluster::start();
    cluster.kubectl(&["create", "configmap", "a", "--from-literal=x=y"]).must();
    assert_eq!(cluster.get(&["configmap", "a"]).unwrap()["data"]["x"], "y");
    cluster.kubectl(&["label", "configmap", "a", "tier=front"]).must();
    let selected = cluster.kubectl(&["get", "configmaps", "-l", "tier=front", "-o", "name"]).must();
    assert_eq!(selected.trim(), "configmap/a");
    cluster
        .kubectl(&["patch", "configmap", "a", "--type=json", "-p", r#"[{"op":"add","path":"/data/z","value":"1"}]"#])
        .must();
    cluster.kubectl(&["annotate", "configmap", "a", "note=hello"]).must();
    let object = cluster.get(&["configmap", "a"]).unwrap();
    assert_eq!((&object["data"]["z"], &object["metadata"]["annotations"]["note"]), (&"1".into(), &"hello".into()));
    cluster.kubectl(&["delete", "configmap", "a"]).must();
    assert!(cluster.kubectl(&["get", "configmap", "a"]).must_fail().contains("configmaps \"a\" not found"));
}

#[test]
fn a_collection_is_deleted_page_by_page() {
    let cluster = Cluster::start();
    for name in ["a", "b", "c"] {
        cluster.kubectl(&["create", "configmap", name]).must();
        cluster.kubectl(&["label", "configmap", name, "tier=front"]).must();
    }
    let delete = |page: &str| -> serde_json::Value {
        let path = format!("/api/v1/namespaces/default/configmaps?labelSelector=tier%3Dfront&limit=2{page}");
        serde_json::from_str(&cluster.kubectl(&["delete", "--raw", &path]).must()).unwrap()
    };
    let first = delete("");
    assert_eq!(first["items"].as_array().unwrap().len(), 2, "{first}");
    let left = cluster.kubectl(&["get", "configmaps", "-l", "tier=front", "-o", "name"]).must();
    assert_eq!(left.trim(), "configmap/c");
    delete(&format!("&continue={}", first["metadata"]["continue"].as_str().unwrap()));
    assert_eq!(cluster.kubectl(&["get", "configmaps", "-l", "tier=front", "-o", "name"]).must().trim(), "");
}

#[test]
fn apply_on_client_and_server_side() {
    let cluster = Cluster::start();
    let map = |value: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata: {{k: {value}}}\n");
    assert!(cluster.apply(&map("one")).contains("created"));
    assert!(cluster.apply(&map("one")).contains("unchanged"));
    assert!(cluster.apply(&map("two")).contains("configured"));
    let server = ["apply", "--server-side", "--field-manager=other", "-f", "-"];
    let conflict = cluster.kubectl_with(&server, Some(&map("three"))).must_fail();
    assert!(conflict.contains("conflict with \"kubectl-client-side-apply\""), "{conflict}");
    let forced = ["apply", "--server-side", "--force-conflicts", "--field-manager=other", "-f", "-"];
    cluster.kubectl_with(&forced, Some(&map("three"))).must();
    assert_eq!(cluster.get(&["configmap", "m"]).unwrap()["data"]["k"], "three");
}

#[test]
fn misspelt_fields_are_told() {
    let cluster = Cluster::start();
    let manifest = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {prots: [], ports: [{port: 80}]}\n";
    let error = cluster.kubectl_with(&["apply", "-f", "-"], Some(manifest)).must_fail();
    assert!(error.contains("unknown field \"spec.prots\""), "{error}");
}

#[test]
fn a_deleted_namespace_takes_its_content_with_it() {
    let cluster = Cluster::start();
    cluster.kubectl(&["create", "namespace", "shop"]).must();
    cluster.kubectl(&["create", "configmap", "a", "-n", "shop"]).must();
    cluster.kubectl(&["delete", "namespace", "shop", "--wait=false"]).must();
    eventually("the namespace is gone", || match cluster.get(&["namespace", "shop"]) {
        Err(error) if error.contains("not found") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn who_may_do_what() {
    let cluster = Cluster::start();
    assert_eq!(cluster.kubectl(&["auth", "can-i", "create", "pods"]).must().trim(), "yes");
    let account = "--as=system:serviceaccount:default:default";
    let error = cluster.kubectl(&["get", "secrets", account]).must_fail();
    assert!(
        error.contains("cannot list resource \"secrets\" in API group \"\" in the namespace \"default\""),
        "{error}"
    );
    cluster.kubectl(&["create", "rolebinding", "see", "--clusterrole=edit", "--serviceaccount=default:default"]).must();
    cluster.kubectl(&["get", "secrets", account]).must();
    let token = cluster.kubectl(&["create", "token", "default"]).must();
    assert_eq!(token.split('.').count(), 3);
}

#[test]
fn discovery_and_documents() {
    let cluster = Cluster::start();
    assert!(cluster.kubectl(&["api-resources"]).must().contains("deployments"));
    assert!(cluster.kubectl(&["api-versions"]).must().contains("networking.k8s.io/v1"));
    assert!(cluster.kubectl(&["explain", "deployment.spec.strategy"]).must().contains("rollingUpdate"));
    assert!(cluster.kubectl(&["get", "--raw", "/openapi/v2"]).must().contains("swagger"));
    assert!(cluster.kubectl(&["get", "--raw", "/readyz?verbose"]).must().contains("readyz check passed"));
    assert!(cluster.kubectl(&["version"]).must().contains("Server Version: v1.37"));
}
