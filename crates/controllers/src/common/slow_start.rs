//! Many calls that probably all fail if the first one does.

use std::future::Future;

use futures::future::join_all;

/// Makes `count` calls in batches of 1, 2, 4, …; stops after a batch with a failure. Answers how many were made and the
/// first failure.
pub(crate) async fn batches<F, Fut, E>(count: usize, call: F) -> (usize, Option<E>)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<(), E>>,
{
    let mut made = 0;
    let mut size = 1;
    while made < count {
        let batch = size.min(count - made);
        let results = join_all((0..batch).map(|_| call())).await;
        made += batch;
        if let Some(error) = results.into_iter().find_map(Result::err) {
            return (made, Some(error));
        }
        size *= 2;
    }
    (made, None)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn batches_double_and_stop_at_a_failure() {
        let calls = Cell::new(0);
        let call = |limit: i32| {
            let calls = &calls;
            move || {
                calls.set(calls.get() + 1);
                std::future::ready(if calls.get() > limit { Err(calls.get()) } else { Ok(()) })
            }
        };
        assert_eq!(batches(10, call(99)).await, (10, None));
        calls.set(0);
        assert_eq!(batches(10, call(2)).await, (3, Some(3)), "1, then 2 of which one fails");
    }
}
