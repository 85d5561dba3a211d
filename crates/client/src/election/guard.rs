//! Requests of a leader that is none any more do not leave the process.

use std::sync::Arc;

use http::{Method, Request};
use kube::client::Body;
use parking_lot::Mutex;
use tokio::time::Instant;
use tower::BoxError;

/// The moment until which this process may act.
#[derive(Clone)]
pub struct Guard {
    until: Arc<Mutex<Instant>>,
}

impl Guard {
    pub(super) fn new(until: Instant) -> Self {
        Self { until: Arc::new(Mutex::new(until)) }
    }

    pub(super) fn until(&self) -> Instant {
        *self.until.lock()
    }

    pub(super) fn extend(&self, until: Instant) {
        *self.until.lock() = until;
    }

    /// Nothing may be changed from now on.
    pub(super) fn close(&self) {
        *self.until.lock() = Instant::now();
    }

    /// A client whose changing requests are refused here when the time is over.
    pub(super) fn wrap(&self, inner: kube::Client) -> kube::Client {
        let guard = self.clone();
        let namespace = inner.default_namespace().to_owned();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (inner, guard) = (inner.clone(), guard.clone());
            async move {
                let reads = matches!(*request.method(), Method::GET | Method::HEAD);
                if !reads && Instant::now() >= guard.until() {
                    return Err(BoxError::from("this process is not the leader any more"));
                }
                inner.send(request).await.map_err(BoxError::from)
            }
        });
        kube::Client::new(service, namespace)
    }
}
