//! "did you mean": the known name nearest to an unknown one.

/// `; did you mean "x"?` for the nearest of `known` within two edits, else the whole list, else nothing.
pub(crate) fn hint<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(name) = nearest(unknown, &known) {
        return format!("; did you mean \"{name}\"?");
    }
    match known.as_slice() {
        [] => String::new(),
        [one] => format!("; there is only \"{one}\""),
        names => format!("; there are {}", listed(names)),
    }
}

/// The first ten names, quoted, in their order.
fn listed(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(10).map(|name| format!("\"{name}\"")).collect();
    let more = names.len().saturating_sub(10);
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    // A short name is within two edits of everything.
    let allowed = match unknown.chars().count() {
        0 | 1 => 0,
        2..=5 => 1,
        _ => 2,
    };
    known
        .iter()
        .map(|name| (edits(unknown, name), *name))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Insertions, deletions, changes and swaps of neighbours from `a` to `b`, without regard to case.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (lower(a), lower(b));
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// Names are at most 63 characters: what is longer is no misspelling of one.
fn lower(name: &str) -> Vec<char> {
    name.chars().take(64).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn the_nearest_name_is_offered_or_all_of_them() {
        let known = ["devices", "admin", "sensors"];
        for (unknown, expected) in [
            ("devcies", "; did you mean \"devices\"?"),
            ("Admin", "; did you mean \"admin\"?"),
            ("sensor", "; did you mean \"sensors\"?"),
            ("x", "; there are \"devices\", \"admin\", \"sensors\""),
        ] {
            assert_eq!(hint(unknown, known), expected, "{unknown}");
        }
        assert_eq!(hint("x", []), "");
        assert_eq!(hint("zzz", ["only"]), "; there is only \"only\"");
    }
}
