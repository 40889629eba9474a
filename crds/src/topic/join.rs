/// Joins prefixes and a topic with exactly one `/` between each two; empty parts are left out.
///
/// A `/` at a joint counts as the joint, never as an empty level; a `/` at the very start or end of
/// the whole, and `//` inside a part, keep their MQTT meaning of an empty level.
#[must_use]
pub fn join<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut joined = String::new();
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        if !joined.is_empty() && !joined.ends_with('/') {
            joined.push('/');
        }
        let at_joint = !joined.is_empty();
        joined.push_str(part.strip_prefix('/').filter(|_| at_joint).unwrap_or(part));
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::join;

    #[test]
    fn parts_join_with_exactly_one_slash() {
        let cases: &[(&str, &[&str], &str)] = &[
            ("plain", &["a", "b"], "a/b"),
            ("prefix ends with a slash", &["a/", "b"], "a/b"),
            ("topic begins with a slash", &["a", "/b"], "a/b"),
            ("both", &["a/", "/b"], "a/b"),
            ("no prefix keeps the leading slash", &["", "/b"], "/b"),
            ("leading slash of the first part stays", &["/a", "b"], "/a/b"),
            ("trailing slash of the last part stays", &["a", "b/"], "a/b/"),
            ("empty level inside a part stays", &["a//b", "c"], "a//b/c"),
            ("an empty level beside the joint stays", &["a//", "b"], "a//b"),
            ("empty middle part", &["a", "", "b"], "a/b"),
            ("empty topic under a prefix", &["a", ""], "a"),
            ("three", &["a", "b", "{c}"], "a/b/{c}"),
            ("slash only", &["/", "b"], "/b"),
        ];
        for (name, parts, joined) in cases {
            assert_eq!(join(parts.iter().copied()), *joined, "{name}");
        }
    }
}
