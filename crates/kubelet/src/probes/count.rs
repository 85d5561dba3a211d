//! From single outcomes of a probe to a verdict.

use k8s_openapi::api::core::v1::Probe;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    Bad,
    Undecided,
}

/// Outcomes in a row.
pub(super) struct Count {
    good: i32,
    bad: i32,
    success_threshold: i32,
    failure_threshold: i32,
}

impl Count {
    pub(super) fn new(probe: &Probe) -> Self {
        Self {
            good: 0,
            bad: 0,
            success_threshold: probe.success_threshold.unwrap_or(1).max(1),
            failure_threshold: probe.failure_threshold.unwrap_or(3).max(1),
        }
    }

    pub(super) fn take(&mut self, success: bool) -> Verdict {
        if success {
            self.bad = 0;
            self.good = self.good.saturating_add(1);
            return if self.good >= self.success_threshold { Verdict::Good } else { Verdict::Undecided };
        }
        self.good = 0;
        self.bad = self.bad.saturating_add(1);
        if self.bad >= self.failure_threshold { Verdict::Bad } else { Verdict::Undecided }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(success: i32, failure: i32, outcomes: &str, verdicts: &str) {
        let probe = Probe { success_threshold: Some(success), failure_threshold: Some(failure), ..Default::default() };
        let mut count = Count::new(&probe);
        let found: String = outcomes
            .chars()
            .map(|outcome| match count.take(outcome == '+') {
                Verdict::Good => 'G',
                Verdict::Bad => 'B',
                Verdict::Undecided => '.',
            })
            .collect();
        assert_eq!(found, verdicts, "{outcomes}");
    }

    #[test]
    fn thresholds_count_outcomes_in_a_row() {
        check(1, 3, "+--+---", "G..G..B");
        check(2, 1, "++-+-++", ".GB.B.G");
    }
}
