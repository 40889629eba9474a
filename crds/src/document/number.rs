//! What a plain scalar means to kubectl, which reads YAML 1.1 (the rules of go-yaml v2).

use serde_json::Number;

use super::tree::Value;

/// The value of an unquoted scalar; an error says why JSON cannot hold it.
pub(super) fn plain(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF"
        | ".nan" | ".NaN" | ".NAN" => {
            return Err(format!("{text} has no JSON form: write a finite number, or quote it"));
        }
        _ => {}
    }
    if let Some(value) = boolean(text) {
        return Ok(Value::Bool { value, written: text.to_owned() });
    }
    Ok(match number(text) {
        Some(number) => Value::Number { number, written: text.to_owned() },
        None => Value::Text(text.to_owned()),
    })
}

/// YAML 1.1's booleans.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Some(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some(false)
        }
        _ => None,
    }
}

/// Numbers as go-yaml reads them: underscores, hexadecimal, octal (`017`, `0o17`), binary, decimal.
pub(super) fn number(text: &str) -> Option<Number> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    integer(&digits).or_else(|| decimal(&digits))
}

fn integer(digits: &str) -> Option<Number> {
    let (negative, magnitude) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let (radix, body) = radix(magnitude);
    if !body.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let value = u64::from_str_radix(body, radix).ok()?;
    if negative { 0_i64.checked_sub_unsigned(value).map(Number::from) } else { Some(value.into()) }
}

fn radix(magnitude: &str) -> (u32, &str) {
    let lower = magnitude.get(..2).map(str::to_ascii_lowercase);
    match lower.as_deref() {
        Some("0x") => (16, &magnitude[2..]),
        Some("0o") => (8, &magnitude[2..]),
        Some("0b") => (2, &magnitude[2..]),
        Some(_) if magnitude.starts_with('0') => (8, &magnitude[1..]),
        _ => (10, magnitude),
    }
}

fn decimal(digits: &str) -> Option<Number> {
    let allowed = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    if !digits.chars().all(allowed) || !digits.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Number::from_f64(digits.parse::<f64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        match plain(text) {
            Ok(Value::Null) => "null".to_owned(),
            Ok(Value::Bool { value, .. }) => value.to_string(),
            Ok(Value::Number { number, .. }) => number.to_string(),
            Ok(Value::Text(text)) => format!("{text:?}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn plain_scalars_mean_what_they_mean_to_kubectl() {
        let table = [
            ("", "null"),
            ("~", "null"),
            ("yes", "true"),
            ("Off", "false"),
            ("y", "true"),
            ("yEs", "\"yEs\""),
            ("12", "12"),
            ("+12", "12"),
            ("-12", "-12"),
            ("1_000", "1000"),
            ("0x1F", "31"),
            ("017", "15"),
            ("0o17", "15"),
            ("0b101", "5"),
            ("08", "8.0"),
            ("0", "0"),
            ("00", "0"),
            ("1.5", "1.5"),
            (".5", "0.5"),
            ("1e3", "1000.0"),
            ("1.2.3", "\"1.2.3\""),
            ("12:30", "\"12:30\""),
            ("2026-01-02", "\"2026-01-02\""),
            ("-", "\"-\""),
            ("+", "\"+\""),
            ("0x", "\"0x\""),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("devices/1", "\"devices/1\""),
        ];
        for (written, expected) in table {
            assert_eq!(json(written), expected, "{written:?}");
        }
    }

    #[test]
    fn what_json_cannot_hold_is_refused() {
        assert!(plain(".nan").unwrap_err().contains("no JSON form"));
    }
}
