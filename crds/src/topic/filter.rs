//! Relations between MQTT filters (`+`, `#`; section 4.7), on their texts.

/// Whether `topic` matches `filter`.
#[must_use]
pub fn filter_matches(filter: &str, topic: &str) -> bool {
    // A topic is a filter without wildcards, so it is matched exactly when it is covered.
    !topic.is_empty() && filter_covers(filter, topic)
}

/// Whether some topic matches both.
#[must_use]
pub fn filters_overlap(a: &str, b: &str) -> bool {
    if hides(a, b) || hides(b, a) {
        return false;
    }
    let (mut a, mut b) = (written_out(a).split('/'), written_out(b).split('/'));
    loop {
        match (a.next(), b.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (Some(_), None) | (None, Some(_)) => return false,
            (Some(a), Some(b)) => {
                if a != "+" && b != "+" && a != b {
                    return false;
                }
            }
        }
    }
}

/// Whether every topic that matches `narrow` matches `wide`.
#[must_use]
pub fn filter_covers(wide: &str, narrow: &str) -> bool {
    if hides(wide, narrow) {
        return false;
    }
    let (mut wide, mut narrow) = (wide.split('/'), written_out(narrow).split('/'));
    loop {
        match (wide.next(), narrow.next()) {
            (Some("#"), _) | (None, None) => return true,
            (_, Some("#")) | (Some(_), None) | (None, Some(_)) => return false,
            (Some(wide), Some(narrow)) => {
                if wide != "+" && wide != narrow {
                    return false;
                }
            }
        }
    }
}

/// A topic has at least one level and is not empty, so these pairs match the same.
pub(crate) fn written_out(filter: &str) -> &str {
    match filter {
        "#" => "+/#",
        "/#" => "/+/#",
        other => other,
    }
}

/// A filter that starts with a wildcard matches no topic that starts with `$` (MQTT-4.7.2-1).
fn hides(wild: &str, dollar: &str) -> bool {
    wild.starts_with(['+', '#']) && dollar.starts_with('$')
}
