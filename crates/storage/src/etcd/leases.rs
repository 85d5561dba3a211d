//! Times to live. Values that end at about the same time share a lease: one a second, not one a value.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::members::{Failure, Members};

/// Most values on one lease: when it ends, they all go in one step.
const MOST: usize = 1000;

struct Lease {
    id: i64,
    until: Instant,
    used: usize,
}

/// Leases that still take values, by time to live.
#[derive(Default)]
pub(super) struct Leases {
    open: Mutex<HashMap<u64, Lease>>,
}

impl Leases {
    /// A lease that lasts at least `seconds`, and not much longer.
    pub(super) async fn take(&self, members: &Members, seconds: u64) -> Result<i64, Failure> {
        let mut open = self.open.lock().await;
        if let Some(lease) = open.get_mut(&seconds)
            && lease.until > Instant::now()
            && lease.used < MOST
        {
            lease.used += 1;
            return Ok(lease.id);
        }
        let window = (seconds / 20).clamp(1, 60);
        let until = Instant::now() + Duration::from_secs(window);
        let ttl = i64::try_from(seconds + window).unwrap_or(i64::MAX);
        let (granted, _) = members.call(|_, mut client| async move { client.lease_grant(ttl, None).await }).await?;
        open.insert(seconds, Lease { id: granted.id(), until, used: 1 });
        Ok(granted.id())
    }

    /// A lease that etcd does not know any more.
    pub(super) async fn forget(&self, seconds: u64) {
        self.open.lock().await.remove(&seconds);
    }
}
