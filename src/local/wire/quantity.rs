//! Quantities (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>): `500m`, `64Mi`, `1e3`.

/// Suffixes and what they stand for, in thousandths and finer: numerator and denominator.
const SUFFIXES: [(&str, i128, i128); 15] = [
    ("Ki", 1 << 10, 1),
    ("Mi", 1 << 20, 1),
    ("Gi", 1 << 30, 1),
    ("Ti", 1 << 40, 1),
    ("Pi", 1 << 50, 1),
    ("Ei", 1 << 60, 1),
    ("n", 1, 1_000_000_000),
    ("u", 1, 1_000_000),
    ("m", 1, 1_000),
    ("k", 1_000, 1),
    ("M", 1_000_000, 1),
    ("G", 1_000_000_000, 1),
    ("T", 1_000_000_000_000, 1),
    ("P", 1_000_000_000_000_000, 1),
    ("E", 1_000_000_000_000_000_000, 1),
];

/// A quantity in thousandths, rounded up as Kubernetes does.
pub(super) fn thousandths(text: &str) -> Option<i128> {
    let (number, (numerator, denominator)) = split(text)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || whole.len() + fraction.len() == 0 {
        return None;
    }
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let divisor = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(denominator)?;
    let scaled = digits.checked_mul(1_000)?.checked_mul(numerator)?;
    Some(scaled / divisor + i128::from(scaled % divisor != 0))
}

/// The number and what it is multiplied with.
fn split(text: &str) -> Option<(&str, (i128, i128))> {
    if let Some((number, exponent)) = text.split_once(['e', 'E']).filter(|(_, exponent)| !exponent.is_empty()) {
        let exponent: i32 = exponent.parse().ok()?;
        let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
        return Some((number, if exponent < 0 { (1, power) } else { (power, 1) }));
    }
    let suffix = SUFFIXES.iter().find(|(suffix, _, _)| text.ends_with(suffix));
    Some(suffix.map_or((text, (1, 1)), |(suffix, up, down)| (&text[..text.len() - suffix.len()], (*up, *down))))
}

/// A quantity of bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let thousandths = thousandths(text)?;
    u64::try_from(thousandths / 1_000 + i128::from(thousandths % 1_000 != 0)).ok()
}

#[cfg(test)]
mod tests {
    use super::thousandths;

    #[test]
    fn quantities_are_read_as_kubernetes_does() {
        for (text, wanted) in [
            ("1", Some(1_000)),
            ("500m", Some(500)),
            ("0.5", Some(500)),
            (".5", Some(500)),
            ("1.5Gi", Some(1_610_612_736_000)),
            ("64Mi", Some(67_108_864_000)),
            ("1k", Some(1_000_000)),
            ("1e3", Some(1_000_000)),
            ("1E", Some(1_000_000_000_000_000_000_000)),
            ("5e-1", Some(500)),
            ("1u", Some(1)),
            ("100n", Some(1)),
            ("", None),
            ("Mi", None),
            ("1 Mi", None),
            ("-1", None),
            ("1Zi", None),
        ] {
            assert_eq!(thousandths(text), wanted, "{text}");
        }
    }
}
