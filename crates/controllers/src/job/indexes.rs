//! Sets of completion indexes, and how they are written: `1,3-5,7`. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;

/// Annotation and label of a pod of an indexed Job.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Completion indexes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Indexes(BTreeSet<i32>);

impl Indexes {
    /// Reads a text; what is not below `completions`, or no number, is left out.
    pub(super) fn parse(text: &str, completions: i32) -> Self {
        let mut indexes = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(from), Ok(to)) = (from.trim().parse::<i32>(), to.trim().parse::<i32>()) {
                indexes.0.extend(from.max(0)..=to.min(completions.saturating_sub(1)));
            }
        }
        indexes
    }

    pub(super) fn insert(&mut self, index: i32) {
        self.0.insert(index);
    }

    pub(super) fn has(&self, index: i32) -> bool {
        self.0.contains(&index)
    }

    pub(super) fn count(&self) -> i32 {
        i32::try_from(self.0.len()).unwrap_or(i32::MAX)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = i32> + '_ {
        self.0.iter().copied()
    }

    /// The text; two in a row are written one by one.
    pub(super) fn text(&self) -> String {
        let mut ranges: Vec<(i32, i32)> = Vec::new();
        for index in self.iter() {
            match ranges.last_mut() {
                Some((_, to)) if *to + 1 == index => *to = index,
                _ => ranges.push((index, index)),
            }
        }
        let text = |(from, to): (i32, i32)| match to - from {
            0 => from.to_string(),
            1 => format!("{from},{to}"),
            _ => format!("{from}-{to}"),
        };
        ranges.into_iter().map(text).collect::<Vec<_>>().join(",")
    }
}

/// The index of a pod; none for one without.
pub(super) fn of(pod: &Pod) -> Option<i32> {
    pod.metadata.annotations.as_ref()?.get(INDEX)?.parse().ok().filter(|index| *index >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_sets() {
        for (text, canonical) in
            [("", ""), ("1,2", "1,2"), ("1-3,5,6,8", "1-3,5,6,8"), ("0,1,2,12", "0-2"), ("x,4", "4")]
        {
            assert_eq!(Indexes::parse(text, 10).text(), canonical, "{text}");
        }
    }
}
