//! "Did you mean": the known word nearest to what was written.

/// The nearest of `known`, if it is near enough to be meant.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let lower = word.to_lowercase();
    let (distance, best) = known
        .into_iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= tolerance(word)).then_some(best)
}

/// One slip in short words, two in longer ones, three in long ones.
fn tolerance(word: &str) -> usize {
    match word.chars().count() {
        0..=2 => 0,
        3..=4 => 1,
        5..=9 => 2,
        _ => 3,
    }
}

/// Edits (insert, delete, replace) from one word to the other; words beyond 64 characters are far.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replace = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_word_and_a_stranger_does_not() {
        let known = ["topic", "handlers", "middleware", "qos", "name"];
        assert_eq!(nearest("topik", known), Some("topic"));
        assert_eq!(nearest("Handler", known), Some("handlers"));
        assert_eq!(nearest("middlewares", known), Some("middleware"));
        assert_eq!(nearest("qso", known), None);
        assert_eq!(nearest("namespace", known), None);
    }
}
