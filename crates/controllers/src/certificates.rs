//! CertificateSigningRequests: kubelets' own are approved, what is approved is signed, what is old is cleared away.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/>

mod approve;
mod clean;
mod rules;
mod sign;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use client::{Informer, Outcome, Reconciler, Runner, write};
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use tokio_util::sync::CancellationToken;

use crate::context::{Context, start};
use approve::Claim;
pub use sign::Authority;
use sign::Signed;

const ACCOUNT: &str = "certificate-controller";
const WORKERS: usize = 2;

struct Certificates {
    client: kube::Client,
    requests: Informer<CertificateSigningRequest>,
    authority: Option<Authority>,
}

pub(crate) async fn run(context: Context, shutdown: CancellationToken) {
    let requests = context.informers.get::<CertificateSigningRequest>();
    let (client, authority) = (context.client(ACCOUNT), context.config.authority.clone());
    let reconciler = Certificates { client, requests: requests.clone(), authority };
    let runner = Runner::new(Arc::new(reconciler), WORKERS)
        .watch(&requests, |request: &CertificateSigningRequest| request.metadata.name.clone());
    start(runner, async { requests.synced().await }, shutdown).await;
}

fn condition<'a>(request: &'a CertificateSigningRequest, kind: &str) -> Option<&'a CertificateSigningRequestCondition> {
    request.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

fn has_certificate(request: &CertificateSigningRequest) -> bool {
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate.is_some_and(|certificate| !certificate.0.is_empty())
}

fn add_condition(request: &mut CertificateSigningRequest, kind: &str, reason: &str, message: &str) {
    let now = Some(Time(Timestamp::now()));
    let conditions = request.status.get_or_insert_default().conditions.get_or_insert_default();
    conditions.push(CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: now.clone(),
        last_transition_time: now,
    });
}

impl Reconciler for Certificates {
    type Key = String;
    type Error = kube::Error;

    fn name(&self) -> &'static str {
        "certificates"
    }

    async fn reconcile(&self, key: &String) -> Result<Outcome, kube::Error> {
        let Some(request) = self.requests.get("", key) else { return Ok(Outcome::Done) };
        let left = clean::left(&request, Timestamp::now());
        if left.is_zero() {
            return self.delete(key).await;
        }
        let is = |kind: &str| condition(&request, kind).is_some();
        let done = match (is("Approved"), is("Denied") || is("Failed")) {
            (_, true) => Ok(()),
            (true, _) if has_certificate(&request) => Ok(()),
            (true, _) => self.sign(&request).await,
            (false, _) => self.approve(&request).await,
        };
        match done {
            Err(error) if write::is_not_found(&error) => Ok(Outcome::Done),
            other => other.map(|()| Outcome::RequeueAfter(left)),
        }
    }
}

impl Certificates {
    fn api(&self) -> Api<CertificateSigningRequest> {
        Api::all(self.client.clone())
    }

    async fn delete(&self, name: &str) -> kube::Result<Outcome> {
        match self.api().delete(name, &DeleteParams::default()).await {
            Err(error) if write::is_not_found(&error) => Ok(Outcome::Done),
            other => other.map(|_| Outcome::Done),
        }
    }

    /// Approves what a kubelet asks for itself, if it may.
    async fn approve(&self, request: &CertificateSigningRequest) -> kube::Result<()> {
        let Some(message) = self.reason(request).await? else { return Ok(()) };
        let mut approved = request.clone();
        add_condition(&mut approved, "Approved", "AutoApproved", message);
        let name = request.metadata.name.as_deref().unwrap_or_default();
        self.api().replace_subresource("approval", name, &PostParams::default(), &approved).await.map(drop)
    }

    /// Why a request is approved without a person; none when it is left to one.
    async fn reason(&self, request: &CertificateSigningRequest) -> kube::Result<Option<&'static str>> {
        if request.spec.signer_name == rules::KUBELET_SERVING {
            // Asked for, not from an informer: the node has just said where it is.
            let nodes = Api::<Node>::all(self.client.clone()).list(&ListParams::default()).await?;
            return Ok(approve::serves_itself(request, &nodes.items).then_some(approve::SERVING));
        }
        for claim in approve::claims(request) {
            if self.may(request, claim).await? {
                return Ok(Some(claim.message()));
            }
        }
        Ok(None)
    }

    async fn may(&self, request: &CertificateSigningRequest, claim: Claim) -> kube::Result<bool> {
        let attributes = ResourceAttributes {
            group: Some("certificates.k8s.io".into()),
            resource: Some("certificatesigningrequests".into()),
            verb: Some("create".into()),
            subresource: Some(claim.subresource().into()),
            version: Some("*".into()),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: request.spec.username.clone(),
            groups: request.spec.groups.clone(),
            uid: request.spec.uid.clone(),
            extra: request.spec.extra.clone(),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let answer = Api::all(self.client.clone()).create(&PostParams::default(), &review).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    async fn sign(&self, request: &CertificateSigningRequest) -> kube::Result<()> {
        let Some(authority) = &self.authority else { return Ok(()) };
        let mut answered = request.clone();
        match sign::sign(authority, request, Timestamp::now()) {
            Signed::Foreign => return Ok(()),
            Signed::Certificate(pem) => {
                let certificate = k8s_openapi::ByteString(pem.into_bytes());
                answered.status.get_or_insert_default().certificate = Some(certificate);
            }
            Signed::Refused(why) => add_condition(&mut answered, "Failed", "SignerValidationFailure", &why),
        }
        let name = request.metadata.name.as_deref().unwrap_or_default();
        self.api().replace_status(name, &PostParams::default(), &answered).await.map(drop)
    }
}
