//! `resource.Quantity`: exact decimal amounts with SI and binary suffixes.
//!
//! Kept as nano-units in an `i128`, which holds every amount that upstream's 64-bit form does, and nine decimals.
//! <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>

use std::fmt;
use std::ops::{Add, Sub};

const NANO: i128 = 1_000_000_000;

/// An amount. Ordering and equality are by value, not by spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Quantity {
    nano: i128,
}

/// A text that is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
pub struct QuantityError;

impl Quantity {
    /// Whole units.
    pub fn units(n: i64) -> Self {
        Self { nano: i128::from(n) * NANO }
    }

    /// Thousandths.
    pub fn millis(n: i64) -> Self {
        Self { nano: i128::from(n) * 1_000_000 }
    }

    /// Reads `100m`, `1.5`, `2Gi`, `1e3`. Digits below a nano-unit are rounded up.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (sign, rest) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text.strip_prefix('+').unwrap_or(text)),
        };
        let split = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(split);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if number.len() > 40 || (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(QuantityError);
        }
        let scale = Scale::parse(suffix)?;
        let digits: i128 = format!("0{whole}{fraction}").parse().map_err(|_| QuantityError)?;
        let nano = scale.nano(digits, fraction.len()).ok_or(QuantityError)?;
        Ok(Self { nano: sign * nano })
    }

    /// Whole units, rounded up, saturating.
    pub fn value(self) -> i64 {
        ceil_div(self.nano, NANO)
    }

    /// Thousandths, rounded up, saturating.
    pub fn milli_value(self) -> i64 {
        ceil_div(self.nano, 1_000_000)
    }

    /// Below zero.
    pub fn is_negative(self) -> bool {
        self.nano < 0
    }

    /// Zero.
    pub fn is_zero(self) -> bool {
        self.nano == 0
    }

    /// The shortest exact spelling with a binary suffix where the amount is a multiple of 1 Ki, else decimal.
    pub fn to_binary_string(self) -> String {
        let units = self.nano / NANO;
        if self.nano % NANO != 0 || units == 0 {
            return self.to_string();
        }
        for (suffix, shift) in [("Ei", 60), ("Pi", 50), ("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)] {
            if units % (1i128 << shift) == 0 {
                return format!("{}{suffix}", units >> shift);
            }
        }
        self.to_string()
    }
}

fn ceil_div(n: i128, d: i128) -> i64 {
    let rounded = n.div_euclid(d) + i128::from(n.rem_euclid(d) != 0);
    i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
}

enum Scale {
    Decimal(i32),
    Binary(u32),
}

impl Scale {
    fn parse(suffix: &str) -> Result<Self, QuantityError> {
        Ok(match suffix {
            "" => Self::Decimal(0),
            "n" => Self::Decimal(-9),
            "u" => Self::Decimal(-6),
            "m" => Self::Decimal(-3),
            "k" => Self::Decimal(3),
            "M" => Self::Decimal(6),
            "G" => Self::Decimal(9),
            "T" => Self::Decimal(12),
            "P" => Self::Decimal(15),
            "E" => Self::Decimal(18),
            "Ki" => Self::Binary(10),
            "Mi" => Self::Binary(20),
            "Gi" => Self::Binary(30),
            "Ti" => Self::Binary(40),
            "Pi" => Self::Binary(50),
            "Ei" => Self::Binary(60),
            _ => {
                let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError)?;
                let exponent: i32 = exponent.parse().map_err(|_| QuantityError)?;
                if exponent.abs() > 30 {
                    return Err(QuantityError);
                }
                Self::Decimal(exponent)
            }
        })
    }

    fn nano(&self, digits: i128, fraction: usize) -> Option<i128> {
        let fraction = i32::try_from(fraction).ok()?;
        let (digits, exponent) = match self {
            Self::Decimal(exponent) => (digits, 9 + exponent - fraction),
            Self::Binary(shift) => (digits.checked_mul(1i128 << shift)?, 9 - fraction),
        };
        let power = 10i128.checked_pow(exponent.unsigned_abs())?;
        if exponent >= 0 { digits.checked_mul(power) } else { Some(digits / power + i128::from(digits % power != 0)) }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        let suffixes = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
        let (mut amount, mut index) = (self.nano, 0);
        while amount % 1000 == 0 && index + 1 < suffixes.len() {
            amount /= 1000;
            index += 1;
        }
        write!(f, "{amount}{}", suffixes.get(index).unwrap_or(&""))
    }
}

impl Add for Quantity {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { nano: self.nano.saturating_add(other.nano) }
    }
}

impl Sub for Quantity {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { nano: self.nano.saturating_sub(other.nano) }
    }
}

impl std::iter::Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), Add::add)
    }
}

impl TryFrom<&k8s_openapi::apimachinery::pkg::api::resource::Quantity> for Quantity {
    type Error = QuantityError;
    fn try_from(value: &k8s_openapi::apimachinery::pkg::api::resource::Quantity) -> Result<Self, QuantityError> {
        Self::parse(&value.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn q(text: &str) -> Quantity {
        Quantity::parse(text).unwrap()
    }

    #[test]
    fn equal_amounts_in_other_spellings() {
        for (a, b) in
            [("1", "1000m"), ("1Ki", "1024"), ("1.5Gi", "1536Mi"), ("1e3", "1k"), ("0.1", "100m"), ("+1", "1")]
        {
            assert_eq!(q(a), q(b), "{a} {b}");
        }
        assert!(q("-1") < q("0") && q("100m") < q("0.2"));
    }

    #[test]
    fn rounding_is_up() {
        assert_eq!(q("1m").value(), 1);
        assert_eq!(q("1500m").value(), 2);
        assert_eq!(q("1u").milli_value(), 1);
        assert_eq!(q("-1500m").value(), -1);
    }

    #[test]
    fn canonical_spelling() {
        for (text, printed) in [("1000m", "1"), ("0.5", "500m"), ("1000", "1k"), ("0", "0"), ("1.5", "1500m")] {
            assert_eq!(q(text).to_string(), printed);
        }
        assert_eq!(q("1536Mi").to_binary_string(), "1536Mi");
        assert_eq!(q("1024").to_binary_string(), "1Ki");
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "m", "1.2.3", "1x", "--1", "1e", "1e99", "1 ", "9".repeat(50).as_str()] {
            assert!(Quantity::parse(bad).is_err(), "{bad}");
        }
    }
}
