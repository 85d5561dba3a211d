use std::time::Duration;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_key_waits_once_and_comes_again_when_added_during_work() {
    let queue = WorkQueue::new();
    queue.add("a");
    queue.add("a");
    assert_eq!(queue.len(), 1);
    let item = queue.get().await.unwrap();
    queue.add("a");
    assert_eq!(queue.len(), 0, "the key is being worked on: nobody else may get it");
    drop(item);
    assert_eq!(*queue.get().await.unwrap(), "a");
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn delayed_keys_come_in_time_and_the_earlier_delay_wins() {
    let queue = WorkQueue::new();
    let start = Instant::now();
    queue.add_after("late", Duration::from_secs(10));
    queue.add_after("soon", Duration::from_secs(60));
    queue.add_after("soon", Duration::from_secs(5));
    assert_eq!(*queue.get().await.unwrap(), "soon");
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(*queue.get().await.unwrap(), "late");
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_until_forgotten() {
    let queue = WorkQueue::new();
    for expected in [5, 10, 20, 40] {
        let start = Instant::now();
        queue.add_rate_limited("a");
        drop(queue.get().await.unwrap());
        assert_eq!(start.elapsed().as_millis(), expected);
    }
    queue.forget(&"a");
    let start = Instant::now();
    queue.add_rate_limited("a");
    drop(queue.get().await.unwrap());
    assert_eq!(start.elapsed().as_millis(), 5);
    for _ in 0..40 {
        queue.inner.state.lock().fail(&"a");
    }
    queue.add_rate_limited("a");
    let start = Instant::now();
    drop(queue.get().await.unwrap());
    assert_eq!(start.elapsed().as_secs(), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_takes_no_new_key() {
    let queue = WorkQueue::with_capacity(1);
    queue.add("a");
    queue.add("b");
    assert_eq!(queue.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_workers_share_the_keys_and_leave_when_it_closes() {
    let queue = WorkQueue::new();
    let (sender, mut seen) = tokio::sync::mpsc::channel(8);
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (queue, sender) = (queue.clone(), sender.clone());
        workers.spawn(async move {
            while let Some(item) = queue.get().await {
                sender.send(*item).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    }
    let start = Instant::now();
    for key in 0..4 {
        queue.add(key);
    }
    for _ in 0..4 {
        seen.recv().await.unwrap();
    }
    assert_eq!(start.elapsed().as_secs(), 1, "two at a time");
    queue.close();
    workers.join_all().await;
}
