//! What is told of problems, and when: once, and not of those that pass. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::table::Problem;

/// Objects are often made one after the other: what is missing for so long is missed.
const SETTLED: Duration = Duration::from_secs(3);

/// Problems that there are, since when, and whether they were told.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    known: BTreeMap<Problem, (Instant, bool)>,
}

impl Teller {
    /// The problems to tell now, and how long until there may be more.
    pub(crate) fn due(&mut self, current: &BTreeSet<Problem>, now: Instant) -> (Vec<Problem>, Option<Duration>) {
        self.known.retain(|problem, _| current.contains(problem));
        let (mut due, mut next) = (Vec::new(), None);
        for problem in current {
            let (since, is_told) = self.known.entry(problem.clone()).or_insert((now, false));
            let left = SETTLED.saturating_sub(now.saturating_duration_since(*since));
            if *is_told {
                continue;
            }
            if left.is_zero() {
                *is_told = true;
                due.push(problem.clone());
            } else {
                next = Some(next.map_or(left, |next: Duration| next.min(left)));
            }
        }
        (due, next)
    }
}

#[cfg(test)]
mod tests {
    use client::ObjectKey;

    use super::*;

    #[test]
    fn a_problem_that_stays_is_told_once() {
        let problem = |message: &str| Problem {
            ingress: ObjectKey::new("a", "b"),
            reason: "BackendNotServed",
            message: message.to_owned(),
        };
        let (start, mut teller) = (Instant::now(), Teller::default());
        let current = BTreeSet::from([problem("stays"), problem("passes")]);
        assert_eq!(teller.due(&current, start), (vec![], Some(SETTLED)));
        let current = BTreeSet::from([problem("stays")]);
        assert_eq!(teller.due(&current, start + SETTLED), (vec![problem("stays")], None));
        assert_eq!(teller.due(&current, start + SETTLED * 2), (vec![], None));
        assert_eq!(teller.due(&BTreeSet::new(), start + SETTLED * 3), (vec![], None));
        assert_eq!(teller.due(&current, start + SETTLED * 4).1, Some(SETTLED), "it is a new one");
    }
}
