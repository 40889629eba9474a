//! Filters as subscribers write them (MQTT 5, 4.7 and 4.8.2).

/// A share name (`None`: not shared) and a filter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    pub(super) share: Option<String>,
    pub(super) filter: String,
}

/// Splits `$share/<name>/<filter>`; `None` where it is not a filter.
pub(super) fn parse(written: &str) -> Option<Wanted> {
    let (share, filter) = match written.strip_prefix("$share/") {
        Some(rest) => {
            let (name, filter) = rest.split_once('/')?;
            let valid = !name.is_empty() && !name.contains(['+', '#']);
            (Some(valid.then(|| name.to_owned())?), filter)
        }
        None => (None, written),
    };
    is_filter(filter).then(|| Wanted { share, filter: filter.to_owned() })
}

fn is_filter(filter: &str) -> bool {
    let last = filter.split('/').count() - 1;
    let level = |(index, level): (usize, &str)| match level {
        "+" => true,
        "#" => index == last,
        level => !level.contains(['+', '#', '\0']),
    };
    !filter.is_empty() && filter.split('/').enumerate().all(level)
}

/// A topic name to publish to.
pub(super) fn is_topic(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['+', '#', '\0'])
}

/// Whether a filter without its share matches a topic.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        match (level, topic.next()) {
            // `a/#` also matches `a`: then the topic is already used up.
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(name)) if level == name => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_as_mqtt_says() {
        let rows = [
            ("a/b", "a/b", true),
            ("a/b", "a/B", false),
            ("a/+", "a/b", true),
            ("a/+", "a/", true),
            ("a/+", "a", false),
            ("a/+", "a/b/c", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("#", "a", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("+", "/a", false),
            ("+/+", "/a", true),
            ("a//b", "a//b", true),
        ];
        for (filter, topic, want) in rows {
            assert_eq!(matches(filter, topic), want, "{filter} {topic}");
        }
    }

    #[test]
    fn shares_are_taken_apart_and_bad_filters_refused() {
        let shared = parse("$share/g/a/+").unwrap();
        assert_eq!((shared.share.as_deref(), shared.filter.as_str()), (Some("g"), "a/+"));
        for bad in ["", "a/#/b", "a+", "$share/g", "$share//a", "$share/g+/a", "$share/g/"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
