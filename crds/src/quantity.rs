//! Kubernetes' quantities: `500m`, `1.5Gi`, `2e3`.

/// The value of a quantity; nothing where the text is none.
#[must_use]
pub fn parse(text: &str) -> Option<f64> {
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
    let unit = text.find(|c| !is_number(c)).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    // Rust's floats know words, too.
    let number: f64 =
        number.parse().ok().filter(|_| number.contains(|c: char| c.is_ascii_digit()))?;
    Some(number * scale(unit)?)
}

fn scale(unit: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 16] = [
        ("", 1.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
    ];
    let found = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
    found.or_else(|| {
        let exponent = unit.strip_prefix(['e', 'E'])?;
        exponent.parse::<i32>().ok().map(|exponent| 10f64.powi(exponent))
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        let rows = [
            ("0.5", Some(0.5)),
            ("500m", Some(0.5)),
            ("1Ki", Some(1024.0)),
            ("2e3", Some(2000.0)),
            ("1E", Some(1e18)),
            ("5Pi", Some(5.0 * 1_125_899_906_842_624.0)),
            ("1GB", None),
            ("1 Gi", None),
            ("", None),
            ("Mi", None),
            ("1e", None),
            ("inf", None),
            ("one", None),
        ];
        for (text, value) in rows {
            assert_eq!(parse(text), value, "{text}");
        }
    }
}
