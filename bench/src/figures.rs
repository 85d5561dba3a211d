//! The figures of a cluster.

mod bulk;
mod engines;
mod idle;
mod join;
mod masters;
mod nodes;
mod objects;
mod pods;
mod restart;
mod scaling;
mod services;
mod startup;
mod writes;

use crate::Args;
use crate::api::Api;
use crate::cluster::{Cluster, until};
use crate::failure::Failure;
use crate::report::Report;

/// What every measurement works with.
pub(crate) struct Bench {
    pub(crate) cluster: Cluster,
    pub(crate) api: Api,
    pub(crate) report: Report,
    pub(crate) quick: bool,
}

/// Takes them all, on a cluster that is gone afterwards.
pub(crate) async fn run(args: &Args, name: &str) -> Result<(), Failure> {
    let report = Report::new(args.only.clone());
    let mut cluster = Cluster::new(&args.binary, name)?;
    let started = tokio::select! {
        started = startup::measure(&mut cluster, &report, args.quick) => started,
        _ = tokio::signal::ctrl_c() => Err(Failure::Other("interrupted".into())),
    };
    let api = match started {
        Ok(api) => api,
        Err(failure) => return give_up(cluster, failure).await,
    };
    let mut bench = Bench { cluster, api, report, quick: args.quick };
    let measured = tokio::select! {
        measured = bench.measure(args) => measured,
        _ = tokio::signal::ctrl_c() => Err(Failure::Other("interrupted".into())),
    };
    match measured {
        Ok(()) => bench.cluster.purge().await?,
        Err(failure) => return give_up(bench.cluster, failure).await,
    }
    // After the other cluster, whose ports they take.
    if bench.report.wants(nodes::FIGURES) {
        nodes::measure(args, name, &bench.report).await?;
    }
    if bench.report.wants(join::FIGURES) {
        join::measure(args, name, &bench.report).await?;
    }
    if bench.report.wants(masters::FIGURES) {
        masters::measure(args, name, &bench.report).await?;
    }
    engines::measure(args, name).await
}

async fn give_up(mut cluster: Cluster, failure: Failure) -> Result<(), Failure> {
    eprintln!("{}", cluster.last_words());
    cluster.purge().await?;
    Err(failure)
}

impl Bench {
    async fn measure(&mut self, args: &Args) -> Result<(), Failure> {
        if self.report.wants(idle::FIGURES) {
            idle::measure(self).await?;
        }
        self.cluster.oxikube(&["image", "import", &args.image.display().to_string()]).await?;
        self.furnished().await?;
        if self.report.wants(pods::FIGURES) {
            pods::measure(self).await?;
        }
        if self.report.wants(restart::FIGURES) {
            restart::measure(self).await?;
        }
        if self.report.wants(services::FIGURES) {
            services::measure(self).await?;
        }
        if self.report.wants(scaling::FIGURES) {
            scaling::measure(self).await?;
        }
        if self.report.wants(writes::FIGURES) {
            writes::measure(self).await?;
        }
        if self.report.wants(bulk::FIGURES) {
            bulk::measure(self).await?;
        }
        Ok(())
    }

    /// Waits for what pods in the default namespace need.
    async fn furnished(&self) -> Result<(), Failure> {
        for path in ["serviceaccounts/default", "configmaps/kube-root-ca.crt"] {
            let path = format!("/api/v1/namespaces/default/{path}");
            until(&path, async || self.api.get(&path).await).await?;
        }
        Ok(())
    }
}
