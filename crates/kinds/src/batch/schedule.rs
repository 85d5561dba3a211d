//! The five fields of a schedule, or a name such as `@daily`.

const FIELDS: [(&str, u32, u32); 5] =
    [("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 6)];
const NAMES: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Whether it is a schedule; if not, why.
pub(super) fn check(schedule: &str) -> Result<(), String> {
    if schedule.contains("TZ") {
        return Err("cannot use TZ or CRON_TZ in schedule, use timeZone field instead".into());
    }
    if schedule.starts_with('@') {
        let known = NAMES.contains(&schedule) || schedule.strip_prefix("@every ").is_some_and(|d| !d.trim().is_empty());
        return if known { Ok(()) } else { Err(format!("unrecognized descriptor: {schedule}")) };
    }
    let parts: Vec<&str> = schedule.split_whitespace().collect();
    if parts.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
    }
    parts.iter().zip(FIELDS).try_for_each(|(part, (name, low, high))| {
        part.split(',').try_for_each(|range| check_range(range, name, low, high))
    })
}

fn check_range(range: &str, name: &str, low: u32, high: u32) -> Result<(), String> {
    let (span, step) = range.split_once('/').map_or((range, None), |(span, step)| (span, Some(step)));
    if let Some(step) = step
        && step.parse::<u32>().map_or(true, |s| s == 0)
    {
        return Err(format!("step of range should be a positive number: {range}"));
    }
    if matches!(span, "*" | "?") {
        return Ok(());
    }
    let (from, to) = span.split_once('-').unwrap_or((span, span));
    let (from, to) = (number(from, name)?, number(to, name)?);
    if from < low {
        return Err(format!("beginning of range ({from}) below minimum ({low}): {range}"));
    }
    if to > high {
        return Err(format!("end of range ({to}) above maximum ({high}): {range}"));
    }
    if from > to {
        return Err(format!("beginning of range ({from}) beyond end of range ({to}): {range}"));
    }
    Ok(())
}

fn number(text: &str, field: &str) -> Result<u32, String> {
    let lower = text.to_lowercase();
    let named = match field {
        "month" => MONTHS.iter().position(|m| *m == lower).map(|i| i + 1),
        "day of week" => DAYS.iter().position(|d| *d == lower),
        _ => None,
    };
    let named = named.and_then(|n| u32::try_from(n).ok());
    named
        .or_else(|| text.parse().ok())
        .ok_or_else(|| format!("failed to parse int from {text}: strconv.Atoi: parsing \"{text}\": invalid syntax"))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn schedules() {
        for good in ["* * * * *", "*/5 0-6,12 1 jan-mar MON", "@daily", "@every 1h", "0 0 ? * *"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "* * * *",
            "60 * * * *",
            "* * 0 * *",
            "*/0 * * * *",
            "5-1 * * * *",
            "@often",
            "TZ=UTC * * * * *",
            "x * * * *",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
