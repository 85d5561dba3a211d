//! Amounts of resources as numbers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// In thousandths, rounded up; none for text that is no quantity.
pub(crate) fn milli(quantity: &Quantity) -> Option<i64> {
    let scaled = parse(&quantity.0)?.checked_mul(1000)?;
    let whole = scaled.div_euclid(NANO);
    let up = i128::from(scaled.rem_euclid(NANO) != 0);
    i64::try_from(whole + up).ok()
}

/// In units, rounded up.
pub(crate) fn value(quantity: &Quantity) -> Option<i64> {
    let nanos = parse(&quantity.0)?;
    let up = i128::from(nanos.rem_euclid(NANO) != 0);
    i64::try_from(nanos.div_euclid(NANO) + up).ok()
}

const NANO: i128 = 1_000_000_000;

/// In billionths.
fn parse(text: &str) -> Option<i128> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(split)?;
    let factor = match suffix {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "" => NANO,
        "k" => NANO * 1_000,
        "M" => NANO * 1_000_000,
        "G" => NANO * 1_000_000_000,
        "T" => NANO * 1_000_000_000_000,
        "P" => NANO * 1_000_000_000_000_000,
        "E" => NANO * 1_000_000_000_000_000_000,
        "Ki" => NANO << 10,
        "Mi" => NANO << 20,
        "Gi" => NANO << 30,
        "Ti" => NANO << 40,
        "Pi" => NANO << 50,
        "Ei" => NANO << 60,
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = u32::try_from(power.checked_add(9)?).ok().filter(|power| *power < 30)?;
            10_i128.checked_pow(power)?
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let negative = whole.starts_with('-');
    let digits = whole.trim_start_matches(['-', '+']);
    let mut total = if digits.is_empty() { 0 } else { digits.parse::<i128>().ok()?.checked_mul(factor)? };
    let mut place = factor;
    for digit in fraction.chars() {
        place /= 10;
        total = total.checked_add(i128::from(digit.to_digit(10)?) * place)?;
    }
    Some(if negative { -total } else { total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_every_notation() {
        let milli = |text: &str| milli(&Quantity(text.into()));
        let value = |text: &str| value(&Quantity(text.into()));
        assert_eq!(milli("100m"), Some(100));
        assert_eq!(milli("1.5"), Some(1500));
        assert_eq!(milli("1n"), Some(1));
        assert_eq!(value("128Mi"), Some(128 << 20));
        assert_eq!(value("1e3"), Some(1000));
        assert_eq!(value("1G"), Some(1_000_000_000));
        assert_eq!(value("500m"), Some(1));
        assert_eq!(value("x"), None);
    }
}
