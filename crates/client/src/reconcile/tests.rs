use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

struct Flaky {
    calls: AtomicU32,
    done: CancellationToken,
}

impl Reconciler for Flaky {
    type Key = &'static str;
    type Error = &'static str;

    fn name(&self) -> &'static str {
        "flaky"
    }

    async fn reconcile(&self, _: &&'static str) -> Result<Outcome, &'static str> {
        match self.calls.fetch_add(1, Ordering::SeqCst) {
            0 => Err("not yet"),
            1 => panic!("on purpose"),
            2 => Ok(Outcome::RequeueAfter(Duration::from_secs(60))),
            _ => {
                self.done.cancel();
                Ok(Outcome::Done)
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn errors_and_panics_are_tried_again_and_a_wish_for_later_is_kept() {
    let done = CancellationToken::new();
    let runner = Runner::new(Arc::new(Flaky { calls: AtomicU32::new(0), done: done.clone() }), 2);
    let failures = runner.failures();
    runner.queue().add("a");
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(runner.run(shutdown.clone()));
    let start = tokio::time::Instant::now();
    done.cancelled().await;
    assert_eq!(start.elapsed().as_millis(), 60_000 + 5 + 10);
    assert!(failures.lock().is_empty(), "a success clears the failure");
    shutdown.cancel();
    running.await.unwrap();
}
