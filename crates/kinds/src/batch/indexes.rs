//! Completion indexes as they are written: `1,3-5,7`.

/// How many indexes a text names; if it is malformed, why.
pub(super) fn count(text: &str, completions: i64) -> Result<i64, String> {
    let (mut total, mut last) = (0, None);
    for part in parts(text) {
        let (from, to) = interval(part, completions)?;
        if let Some(before) = last.filter(|before| *before >= from) {
            return Err(out_of_order(before, from));
        }
        total += to - from + 1;
        last = Some(to);
    }
    Ok(total)
}

/// The first index that is in both texts. What is malformed is passed over.
pub(super) fn overlap(one: &str, other: &str, completions: i64) -> Option<i64> {
    let known = |text| parts(text).filter_map(|part| interval(part, completions).ok()).collect::<Vec<_>>();
    let (one, other) = (known(one), known(other));
    let (mut ours, mut theirs) = (one.iter().peekable(), other.iter().peekable());
    while let (Some((from, to)), Some((start, end))) = (ours.peek(), theirs.peek()) {
        if from <= end && start <= to {
            return Some(*from.max(start));
        }
        if from <= start {
            ours.next()
        } else {
            theirs.next()
        };
    }
    None
}

fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(move |_| !text.is_empty())
}

fn interval(part: &str, completions: i64) -> Result<(i64, i64), String> {
    let limits: Vec<&str> = part.split('-').collect();
    let number = |text: &str| {
        let index: i64 = text.parse().map_err(|_| format!("cannot convert string to integer for index: \"{text}\""))?;
        if index < completions { Ok(index) } else { Err(format!("too large index: \"{text}\"")) }
    };
    match limits.as_slice() {
        [one] => number(one).map(|index| (index, index)),
        [from, to] => match (number(from)?, number(to)?) {
            (from, to) if from >= to => Err(out_of_order(from, to)),
            interval => Ok(interval),
        },
        _ => Err(format!(
            "the fragment \"{part}\" violates the requirement that an index interval can have at most two parts separated by '-'"
        )),
    }
}

fn out_of_order(before: i64, now: i64) -> String {
    format!("non-increasing order, previous: {before}, current: {now}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_ascend() {
        assert_eq!(count("", 10), Ok(0));
        assert_eq!(count("1,3-5,7", 10), Ok(5));
        for (text, why) in [
            ("1,1", "non-increasing order, previous: 1, current: 1"),
            ("3-2", "non-increasing order, previous: 3, current: 2"),
            ("1-2-3", "the fragment \"1-2-3\" violates"),
            ("a", "cannot convert string to integer for index: \"a\""),
            ("3-10", "too large index: \"10\""),
        ] {
            let found = count(text, 10).unwrap_err();
            assert!(found.contains(why), "{text}: {found}");
        }
    }

    #[test]
    fn an_index_that_is_in_two_texts() {
        assert_eq!(overlap("0-2,7", "3,6-8", 10), Some(7));
        assert_eq!(overlap("0-2", "3,x", 10), None);
    }
}
