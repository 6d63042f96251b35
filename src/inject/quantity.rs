//! Quantities of the Kubernetes API (apimachinery, `resource.Quantity`), read exactly: `100m`, `0.5`, `1`, `128Mi`, `1G`, `1e3`.
//!
//! Belongs here: text to number and back, in whole units and without floating point. Does not belong here: what is counted.

/// The longest text that is read: far more digits than any amount has.
const LENGTH_MAX: usize = 30;

/// The largest number that the API server keeps.
const MAX: u128 = i64::MAX as u128;

/// A quantity as a number of thousandths, millicores for instance, rounded up as the scheduler rounds.
///
/// # Errors
/// A text that is none, or more than the API server can keep, in a sentence.
pub fn thousandths(text: &str) -> Result<u64, &'static str> {
    value(text, 3)
}

/// A quantity as a whole number, bytes for instance, rounded up.
pub(super) fn whole(text: &str) -> Result<u64, &'static str> {
    value(text, 0)
}

/// A quantity of bytes, for limits that are derived from another one; `None` if it is none.
#[must_use]
pub fn bytes(text: &str) -> Option<u64> {
    whole(text).ok()
}

/// A quantity of CPU in thousandths of a core; `None` if it is none.
#[must_use]
pub fn millicores(text: &str) -> Option<u64> {
    thousandths(text).ok()
}

/// Times 10 to this power, rounded up.
fn value(text: &str, power: i32) -> Result<u64, &'static str> {
    const FORM: &str = "a quantity is a number such as 500m, 0.5, 2, 128Mi, 1G or 1e3";
    if text.len() > LENGTH_MAX {
        return Err(FORM);
    }
    if text.starts_with('-') {
        return Err("a quantity of a container cannot be negative");
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (before, after) = number.split_once('.').unwrap_or((number, ""));
    if after.contains('.') || (before.is_empty() && after.is_empty()) {
        return Err(FORM);
    }
    let digits: u128 = format!("{before}{after}").parse().map_err(|_| FORM)?;
    let (binary, decimal) = scale(suffix).ok_or(FORM)?;
    let decimal = decimal + power - i32::try_from(after.len()).unwrap_or(0);
    let too_large = "this is more than the API server can keep";
    let number = digits.checked_mul(1 << binary).ok_or(too_large)?;
    let rounded = match u32::try_from(decimal) {
        _ if number == 0 => Some(0),
        Ok(up) => 10u128.checked_pow(up).and_then(|by| number.checked_mul(by)),
        Err(_) => Some(10u128.checked_pow(decimal.unsigned_abs()).map_or(1, |by| number.div_ceil(by))),
    };
    rounded.filter(|number| *number <= MAX).and_then(|number| u64::try_from(number).ok()).ok_or(too_large)
}

/// What a suffix stands for: powers of 2 and of 10.
fn scale(suffix: &str) -> Option<(u32, i32)> {
    const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    const DECIMAL: [(&str, i32); 10] =
        [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
    if let Some(place) = (1..).zip(BINARY).find(|(_, known)| *known == suffix).map(|(place, _)| place) {
        return Some((10 * place, 0));
    }
    if let Some((_, power)) = DECIMAL.iter().find(|(known, _)| *known == suffix) {
        return Some((0, *power));
    }
    let power = suffix.strip_prefix(['e', 'E'])?;
    let digits = power.strip_prefix(['+', '-']).unwrap_or(power);
    let is_number = !digits.is_empty() && digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| power.parse().ok()).flatten().map(|power| (0, power))
}

/// Millicores as a quantity.
pub(super) fn of_millicores(millicores: u64) -> String {
    if millicores.is_multiple_of(1000) { (millicores / 1000).to_string() } else { format!("{millicores}m") }
}

/// Bytes as a quantity, in the largest unit that says it exactly.
pub(super) fn of_bytes(bytes: u64) -> String {
    let units = [("Gi", 30), ("Mi", 20), ("Ki", 10)];
    match units.iter().find(|(_, power)| bytes > 0 && bytes.is_multiple_of(1 << power)) {
        Some((unit, power)) => format!("{}{unit}", bytes >> power),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_the_api_reads_them() {
        let table = [
            ("100m", 100, 1),
            ("0.5", 500, 1),
            (".5", 500, 1),
            ("1.", 1000, 1),
            ("+2", 2000, 2),
            ("1e3", 1_000_000, 1000),
            ("1E3", 1_000_000, 1000),
            ("5e-1", 500, 1),
            ("1k", 1_000_000, 1000),
            ("128Mi", 134_217_728_000, 134_217_728),
            ("1.5Gi", 1_610_612_736_000, 1_610_612_736),
            ("1G", 1_000_000_000_000, 1_000_000_000),
            ("1u", 1, 1),
            ("1n", 1, 1),
            ("0.0001", 1, 1),
            ("1e-99", 1, 1),
            ("0e99", 0, 0),
            ("0", 0, 0),
        ];
        for (text, milli, units) in table {
            assert_eq!((thousandths(text), whole(text)), (Ok(milli), Ok(units)), "{text}");
        }
        assert_eq!((whole("1E"), whole("7Ei")), (Ok(1_000_000_000_000_000_000), Ok(7 << 60)));
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in
            ["", ".", "m", "1.2.3", "1 Gi", "1gi", "1K", "1mi", "1e", "1e+", "1_000", "0x10", "-1", "8Ei", "1e19"]
        {
            assert!(whole(text).is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_are_written_in_their_largest_unit() {
        assert_eq!([of_millicores(1500), of_millicores(2000), of_millicores(0)], ["1500m", "2", "0"]);
        assert_eq!(
            [of_bytes(3 << 30), of_bytes(1536 << 20), of_bytes(1000), of_bytes(0)],
            ["3Gi", "1536Mi", "1000", "0"]
        );
    }
}
