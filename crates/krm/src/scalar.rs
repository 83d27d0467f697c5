//! What a plain scalar means to kubectl and the API server's clients (sigs.k8s.io/yaml: YAML 1.1
//! words, Go number syntax), and which strings no reader takes for anything else.

use std::borrow::Cow;

use serde_json::{Number, Value};

/// A plain scalar, resolved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// Above `i64::MAX`.
    UInt(u64),
    Float(f64),
    /// Infinities and not-a-number: no JSON.
    NotJson,
    /// Text as it stands.
    Text,
}

/// Resolves the text of an untagged plain scalar.
pub(crate) fn resolve(text: &str) -> Scalar {
    match text.bytes().next() {
        None => Scalar::Null,
        Some(b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~') => {
            word(text)
        }
        Some(b'.') => match text {
            ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN" => Scalar::NotJson,
            _ => separated(text)
                .and_then(|text| float(&text))
                .unwrap_or(Scalar::Text),
        },
        Some(b'0'..=b'9' | b'+' | b'-') => number(text),
        Some(_) => Scalar::Text,
    }
}

fn word(text: &str) -> Scalar {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Scalar::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Scalar::Bool(false)
        }
        "~" | "null" | "Null" | "NULL" => Scalar::Null,
        _ => Scalar::Text,
    }
}

fn number(text: &str) -> Scalar {
    if matches!(
        text,
        "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF"
    ) {
        return Scalar::NotJson;
    }
    // Most texts that start with a digit or dash are names, quantities, addresses.
    if !text
        .bytes()
        .all(|b| b.is_ascii_hexdigit() || b"+-._xXoO".contains(&b))
    {
        return Scalar::Text;
    }
    let stripped;
    let plain = if text.contains('_') {
        stripped = text.replace('_', "");
        stripped.as_str()
    } else {
        text
    };
    integer(plain)
        .or_else(|| float(plain))
        .unwrap_or(Scalar::Text)
}

/// A text without its underscores, each of which must stand between digits.
fn separated(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('_') {
        return Some(Cow::Borrowed(text));
    }
    let digit = |b: Option<&u8>| b.is_some_and(u8::is_ascii_digit);
    let bytes = text.as_bytes();
    let fits = bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'_')
        .all(|(i, _)| {
            digit(i.checked_sub(1).and_then(|i| bytes.get(i))) && digit(bytes.get(i + 1))
        });
    fits.then(|| Cow::Owned(text.replace('_', "")))
}

/// Go's integer syntax with base prefixes.
fn integer(text: &str) -> Option<Scalar> {
    let (negative, signed, digits) = match text.as_bytes().first()? {
        b'-' => (true, true, text.get(1..)?),
        b'+' => (false, true, text.get(1..)?),
        _ => (false, false, text),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.bytes().all(|b| char::from(b).is_digit(base)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    if negative {
        return 0i64.checked_sub_unsigned(magnitude).map(Scalar::Int);
    }
    match i64::try_from(magnitude) {
        Ok(int) => Some(Scalar::Int(int)),
        // Go reads unsigned numbers without a sign only.
        Err(_) if signed => None,
        Err(_) => Some(Scalar::UInt(magnitude)),
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?` within the range of a double.
fn float(text: &str) -> Option<Scalar> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (unsigned.get(..at)?, Some(unsigned.get(at + 1..)?)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let exponent_ok = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['-', '+']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    let mantissa_ok = digits(whole)
        && fraction.is_none_or(digits)
        && (!whole.is_empty() || fraction.is_some_and(|f| !f.is_empty()));
    if !mantissa_ok || !exponent_ok {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    value.is_finite().then_some(Scalar::Float(value))
}

impl Scalar {
    /// The JSON value; `None` for text and for numbers JSON does not have.
    pub(crate) fn to_value(self) -> Option<Value> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Bool(b) => Value::Bool(b),
            Self::Int(i) => Value::Number(i.into()),
            Self::UInt(u) => Value::Number(u.into()),
            Self::Float(f) => Value::Number(float_number(f)?),
            Self::NotJson | Self::Text => return None,
        })
    }

    /// The text of a mapping key, as sigs.k8s.io/yaml turns it into JSON. `None`: not possible.
    pub(crate) fn key(self) -> Option<String> {
        Some(match self {
            Self::Bool(b) => b.to_string(),
            Self::Int(i) => i.to_string(),
            Self::Float(f) => float_key(f),
            Self::Null | Self::UInt(_) | Self::NotJson | Self::Text => return None,
        })
    }
}

/// Whole numbers become integers, because Go's JSON prints them so.
pub(crate) fn float_number(f: f64) -> Option<Number> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    if f.fract() == 0.0 && f.abs() <= EXACT && !(f == 0.0 && f.is_sign_negative()) {
        return Some(Number::from(f as i64));
    }
    Number::from_f64(f)
}

/// Go's `%g` of a single-precision number: the form sigs.k8s.io/yaml gives to number keys.
fn float_key(f: f64) -> String {
    let short = format!("{:e}", f as f32);
    let Some((mantissa, exponent)) = short.split_once('e') else {
        return short;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{}", f as f32);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

/// Whether some reader in the pipeline (YAML 1.1 or 1.2, Go, Python, Rust) takes this plain text
/// for something that is not a string.
pub(crate) fn is_ambiguous(text: &str) -> bool {
    if resolve(text) != Scalar::Text {
        return true;
    }
    if matches!(text, "=" | "<<") {
        return true;
    }
    let Some(first) = text.bytes().next() else {
        return true;
    };
    if !matches!(first, b'0'..=b'9' | b'+' | b'-' | b'.') {
        return false;
    }
    is_sexagesimal(text) || is_date(text) || is_loose_number(text)
}

/// YAML 1.1 base 60: `22:22`, `1:30:00.5`.
fn is_sexagesimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = unsigned.split(':');
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    if !parts.next().is_some_and(digits) {
        return false;
    }
    let mut more = false;
    for part in parts {
        more = true;
        let whole = part.split_once('.').map_or(part, |(whole, _)| whole);
        if !digits(whole)
            || !part
                .bytes()
                .all(|b| b.is_ascii_digit() || b == b'.' || b == b'_')
        {
            return false;
        }
    }
    more
}

/// Dates and times of YAML 1.1: anything that starts `dddd-d…-d…`.
pub(crate) fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let number = |s: Option<&str>, min: usize, max: usize| {
        s.is_some_and(|s| (min..=max).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit()))
    };
    number(parts.next(), 4, 4)
        && number(parts.next(), 1, 2)
        && parts.next().is_some_and(|s| {
            let day = s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
            (1..=2).contains(&day)
                && s.get(day..)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with(['T', 't', ' ', '\t']))
        })
}

/// Numbers of other readers: digits with underscores, a leading zero with 8 or 9 in it, numbers
/// beyond a double.
fn is_loose_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let bytes = unsigned.bytes();
    let prefixed = unsigned
        .get(..2)
        .is_some_and(|p| matches!(p, "0x" | "0X" | "0o" | "0O" | "0b" | "0B"));
    if prefixed {
        return unsigned.get(2..).is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_hexdigit() || b == b'_')
        });
    }
    if unsigned.eq_ignore_ascii_case(".inf") || unsigned.eq_ignore_ascii_case(".nan") {
        return true;
    }
    let mut digits = 0;
    let mut dots = 0;
    let mut exponents = 0;
    let mut previous = 0u8;
    for b in bytes {
        match b {
            b'0'..=b'9' => digits += 1,
            b'_' => {}
            b'.' if exponents == 0 => dots += 1,
            b'e' | b'E' if digits > 0 => exponents += 1,
            b'+' | b'-' if matches!(previous, b'e' | b'E') => {}
            _ => return false,
        }
        previous = b;
    }
    let finished = !matches!(previous, b'e' | b'E' | b'+' | b'-');
    digits > 0 && dots <= 1 && exponents <= 1 && finished
}

#[cfg(test)]
mod tests;
