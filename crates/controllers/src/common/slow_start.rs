//! Many calls that probably all fail if the first one does.

use std::future::Future;

use futures::future::join_all;

/// What came of many calls.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Calls<E> {
    pub(crate) succeeded: usize,
    /// Items that were not tried any more.
    pub(crate) left: usize,
    /// The first failure.
    pub(crate) failure: Option<E>,
}

/// Makes calls in batches of 1, 2, 4, …; stops after a batch with a failure.
pub(crate) async fn batches<E>(calls: Vec<impl Future<Output = Result<(), E>>>) -> Calls<E> {
    let (mut calls, mut size, mut succeeded) = (calls.into_iter(), 1, 0);
    loop {
        let batch: Vec<_> = calls.by_ref().take(size).collect();
        if batch.is_empty() {
            return Calls { succeeded, left: 0, failure: None };
        }
        let results = join_all(batch).await;
        succeeded += results.iter().filter(|result| result.is_ok()).count();
        if let Some(error) = results.into_iter().find_map(Result::err) {
            return Calls { succeeded, left: calls.len(), failure: Some(error) };
        }
        size *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn batches_double_and_stop_at_a_failure() {
        let until = async |limit: i32| {
            let call = |number: i32| std::future::ready(if number > limit { Err(number) } else { Ok(()) });
            batches((1..=10).map(call).collect()).await
        };
        assert_eq!(until(99).await, Calls { succeeded: 10, left: 0, failure: None });
        assert_eq!(until(2).await, Calls { succeeded: 2, left: 7, failure: Some(3) }, "1, then 2 of which one fails");
    }
}
