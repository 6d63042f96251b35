//! The little JSON that the wire needs, without allocation: a writer into a fixed buffer, and a reader that checks a
//! whole object once and then finds members by name.
//!
//! Reading is meant for hostile input: nesting is bounded, the first member of a name wins, and every answer is a value of the
//! asked type or an error. RFC 8259 is the reference.
//!
//! Belongs here: JSON, and numbers in decimal digits. Does not belong here: which members a turn or a report has.

mod cursor;
mod read;
mod write;

pub use read::Object;
pub(crate) use read::{escape, first_string};
pub use write::Writer;

use crate::Text;

/// A number in decimal digits.
#[must_use]
pub fn digits(value: u64) -> Text<20> {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    Text::truncated(core::str::from_utf8(&digits[at..]).unwrap_or(""))
}

/// A whole number in decimal digits and nothing else, if it fits. (Smaller than `str::parse`, which the shim notices.)
#[must_use]
pub fn decimal(digits: &[u8]) -> Option<u64> {
    let value = |sum: u64, digit: &u8| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    };
    if digits.is_empty() { None } else { digits.iter().try_fold(0, value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_have_limits() {
        for (text, value) in [("0", Some(0)), ("007", Some(7)), ("18446744073709551615", Some(u64::MAX))] {
            assert_eq!(decimal(text.as_bytes()), value);
        }
        for wrong in ["", "-1", "+1", "1.0", "1 ", "18446744073709551616", "99999999999999999999"] {
            assert_eq!(decimal(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_are_whole() {
        assert_eq!(digits(0).as_str(), "0");
        assert_eq!(digits(u64::MAX).as_str(), "18446744073709551615");
    }
}
