//! The pages of the documentation: their commands work as they stand there.

use tests::{Cluster, Machine, Page};

/// What a page means by "a cluster": one that runs, with the nginx image.
const CLUSTER: &str = "oxikube up; export KUBECONFIG=/var/lib/oxikube/admin.kubeconfig; oxikube image import nginx.tar";

fn follow(page: &str, before: &str) {
    Page::read(page).follow(&Cluster::prepared(), before);
}

#[test]
fn several_nodes() {
    follow("nodes.md", "");
}

#[test]
fn several_masters() {
    follow("masters.md", "");
}

#[test]
fn by_hand() {
    follow("by-hand.md", "");
}

#[test]
fn engines() {
    follow("engines.md", "");
}

#[test]
fn workloads() {
    follow("workloads.md", CLUSTER);
}

#[test]
fn scheduling() {
    follow("scheduling.md", CLUSTER);
}

#[test]
fn scaling() {
    follow("scaling.md", CLUSTER);
}

#[test]
fn storage_on_demand() {
    follow("storage-on-demand.md", CLUSTER);
}

#[test]
fn services_and_doors() {
    follow("services.md", CLUSTER);
    follow("ingress.md", CLUSTER);
}

#[test]
fn status_and_why() {
    follow("status.md", CLUSTER);
}

#[test]
fn bootstrap_tokens() {
    follow("bootstrap-tokens.md", "oxikube up");
}

#[test]
fn several_computers() {
    let cluster = Cluster::prepared();
    let [second, third] = [20, 30].map(|last| Machine::beside(&cluster, last));
    Page::read("setting-up.md").follow_on(&cluster, "", &[("second", &second), ("third", &third)]);
}
