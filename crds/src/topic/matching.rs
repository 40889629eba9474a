use super::{Level, MAX_TOPIC_BYTES, Pattern};

impl Pattern {
    /// The params of `topic`, in the order of [`Pattern::params`], or `None` where it does not match.
    ///
    /// Written to be read: it is what the worker's matcher is tested against, and fast enough for
    /// `routemq match`. A tail of zero levels is the empty text. An empty topic and one
    /// beyond MQTT's length match nothing (MQTT-4.7.3-1, 1.5.4).
    #[must_use]
    pub fn captures<'t>(&self, topic: &'t str) -> Option<Vec<&'t str>> {
        let hidden = topic.starts_with('$') && self.levels.first().is_some_and(Level::is_wildcard);
        if topic.is_empty() || topic.len() > MAX_TOPIC_BYTES || hidden {
            return None;
        }
        let mut captures = Vec::new();
        let mut rest = Some(topic);
        for level in &self.levels {
            match level {
                Level::Rest => return Some(captures),
                Level::Tail { .. } => {
                    captures.push(rest.unwrap_or_default());
                    return Some(captures);
                }
                Level::Literal(_) | Level::Param { .. } | Level::Any => {
                    let (text, after) = split_level(rest?);
                    if !level.accepts(text) {
                        return None;
                    }
                    captures.extend(level.name().map(|_| text));
                    rest = after;
                }
            }
        }
        rest.is_none().then_some(captures)
    }

    /// Whether `topic` matches.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        self.captures(topic).is_some()
    }
}

impl Level {
    /// Whether this level alone matches one level of a topic.
    fn accepts(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => literal == text,
            Self::Param { kind, .. } => kind.accepts(text),
            Self::Any | Self::Tail { .. } | Self::Rest => true,
        }
    }
}

/// The first level, and what is after its slash (`None`: there was no slash).
fn split_level(topic: &str) -> (&str, Option<&str>) {
    topic.split_once('/').map_or((topic, None), |(level, after)| (level, Some(after)))
}
