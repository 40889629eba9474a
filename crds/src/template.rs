//! Topics to publish to, with `{param}` placeholders.

use crate::topic::{MAX_TOPIC_BYTES, forbidden_character};

/// A topic whose placeholders are bound to a route's params.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicTemplate {
    source: String,
    parts: Vec<Part>,
    /// Names of the route's params, for the errors of [`TopicTemplate::render`].
    params: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// Index into the pattern's params.
    Param(usize),
}

/// Why a template is refused, or cannot be filled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A placeholder names no param of the route.
    #[error("no param {{{name}}} in the route's pattern; it has {known}")]
    UnknownParam {
        /// The placeholder.
        name: String,
        /// What there is, for the message.
        known: String,
    },
    /// The template is not a topic.
    #[error("{reason}")]
    NotATopic {
        /// What is wrong and how to mend it.
        reason: String,
    },
    /// A param's value may not stand in a topic to publish to.
    #[error(
        "value {value:?} of {{{name}}} holds {found:?}, which may not stand in a topic to publish to"
    )]
    ForbiddenValue {
        /// The param.
        name: String,
        /// Its value.
        value: String,
        /// `/`, `+`, `#`, a control character; `$` at the start of the topic.
        found: char,
    },
    /// The params leave no topic that MQTT allows.
    #[error("topic of {bytes} bytes from \"{template}\"; MQTT allows 1 to 65535")]
    Length {
        /// The template.
        template: String,
        /// The length that it would have.
        bytes: usize,
    },
}

impl TopicTemplate {
    /// Binds `source`'s placeholders to `params` (names in pattern order); `{route}` becomes
    /// `route`, unless a param has that name.
    ///
    /// # Errors
    /// An unknown placeholder; a wildcard, NUL or nothing at all as a topic; more than 65,535 bytes.
    pub fn parse(source: &str, route: &str, params: &[&str]) -> Result<Self, TemplateError> {
        check_topic(source)?;
        let mut parts = Vec::new();
        for piece in pieces(source)? {
            parts.push(match piece {
                Piece::Text(text) => Part::Literal(text.to_owned()),
                Piece::Placeholder(name) => bind(name, route, params)?,
            });
        }
        let params = params.iter().map(|&name| name.to_owned()).collect();
        Ok(Self { source: source.to_owned(), parts, params })
    }

    /// The template as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The topic for one message; `param(i)` is the value of the pattern's i-th param.
    ///
    /// # Errors
    /// [`TemplateError::ForbiddenValue`] and [`TemplateError::Length`]: permanent, a retry gives the same.
    pub fn render<'p>(&self, param: impl Fn(usize) -> &'p str) -> Result<String, TemplateError> {
        let mut topic = String::with_capacity(self.source.len() + 16);
        self.render_to(|text| topic.push_str(text), param)?;
        Ok(topic)
    }

    /// The same, piece by piece, for a buffer of the caller's; what was pushed before an error is no topic.
    ///
    /// # Errors
    /// Those of [`Self::render`].
    pub fn render_to<'p>(
        &self,
        mut push: impl FnMut(&str),
        param: impl Fn(usize) -> &'p str,
    ) -> Result<(), TemplateError> {
        let mut bytes = 0;
        for part in &self.parts {
            let text = match part {
                Part::Literal(text) => text,
                Part::Param(index) => {
                    let value = param(*index);
                    self.check_value(*index, value, bytes == 0)?;
                    value
                }
            };
            bytes += text.len();
            push(text);
        }
        match bytes {
            1..=MAX_TOPIC_BYTES => Ok(()),
            bytes => Err(TemplateError::Length { template: self.source.clone(), bytes }),
        }
    }

    fn check_value(&self, index: usize, value: &str, at_start: bool) -> Result<(), TemplateError> {
        let found = value
            .chars()
            .find(|c| matches!(c, '/' | '+' | '#'))
            .or_else(|| forbidden_character(value))
            // `$…` topics are the broker's own: a message must not choose to write there.
            .or_else(|| (at_start && value.starts_with('$')).then_some('$'));
        match found {
            None => Ok(()),
            Some(found) => Err(TemplateError::ForbiddenValue {
                name: self.params.get(index).cloned().unwrap_or_default(),
                value: value.to_owned(),
                found,
            }),
        }
    }

    /// Whether some rendered topic can match `filter`. May say yes where the params' values rule it
    /// out, never no where they do not.
    #[must_use]
    pub fn can_match(&self, filter: &str) -> bool {
        let shape = self.shape();
        let starts_with_wildcard = filter.starts_with(['+', '#']);
        if starts_with_wildcard && shape.starts_with('$') {
            return false;
        }
        let (mut topic, mut filter) = (shape.split('/'), filter.split('/'));
        loop {
            match (topic.next(), filter.next()) {
                (_, Some("#")) | (None, None) => return true,
                (Some(_), None) | (None, Some(_)) => return false,
                (Some(_), Some("+")) => {}
                (Some(level), Some(literal)) => {
                    if !level_can_be(level, literal) {
                        return false;
                    }
                }
            }
        }
    }

    /// The template with each placeholder as one NUL, which no literal holds.
    pub(crate) fn shape(&self) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => text.as_str(),
                Part::Param(_) => "\0",
            })
            .collect()
    }
}

/// Whether `level`, whose NULs stand for any text, can be `literal`. Looks at the ends only.
fn level_can_be(level: &str, literal: &str) -> bool {
    let Some((before, rest)) = level.split_once('\0') else { return level == literal };
    let after = rest.rsplit('\0').next().unwrap_or_default();
    literal.len() >= before.len() + after.len()
        && literal.starts_with(before)
        && literal.ends_with(after)
}

fn check_topic(source: &str) -> Result<(), TemplateError> {
    let reason = if source.is_empty() {
        "the topic is empty; write where to publish to".to_owned()
    } else if source.len() > MAX_TOPIC_BYTES {
        format!("the topic has {} bytes; MQTT allows {MAX_TOPIC_BYTES}", source.len())
    } else if let Some(wildcard) = source.chars().find(|c| matches!(c, '+' | '#')) {
        format!(
            "\"{source}\" holds the wildcard \"{wildcard}\"; a topic to publish to has none, use {{param}} for a value"
        )
    } else if let Some(found) = forbidden_character(source) {
        format!(
            "\"{}\" holds the character U+{:04X}, which brokers refuse in a topic; remove it",
            source.escape_debug(),
            u32::from(found)
        )
    } else if source == "$share" || source.starts_with("$share/") {
        format!("\"{source}\" begins with $share; a shared subscription is no topic to publish to")
    } else {
        return Ok(());
    };
    Err(TemplateError::NotATopic { reason })
}

fn bind(name: &str, route: &str, params: &[&str]) -> Result<Part, TemplateError> {
    match params.iter().position(|param| *param == name) {
        Some(index) => Ok(Part::Param(index)),
        None if name == "route" => Ok(Part::Literal(route.to_owned())),
        None => Err(TemplateError::UnknownParam { name: name.to_owned(), known: listed(params) }),
    }
}

fn listed(params: &[&str]) -> String {
    if params.is_empty() {
        return "none".to_owned();
    }
    params.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", ")
}

/// A piece of a text with `{placeholders}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// As it is.
    Text(&'a str),
    /// What stands between braces.
    Placeholder(&'a str),
}

/// Splits at placeholders.
///
/// # Errors
/// A brace without its partner; `{}`.
pub(crate) fn pieces(source: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let unpaired = || TemplateError::NotATopic {
        reason: format!("\"{source}\" holds a brace without its partner; write {{param}}"),
    };
    let mut pieces = Vec::new();
    let mut rest = source;
    while let Some(open) = rest.find('{') {
        let (text, after) = rest.split_at(open);
        let close = after.find('}').ok_or_else(unpaired)?;
        let name = &after[1..close];
        if text.contains('}') || name.contains('{') {
            return Err(unpaired());
        }
        if name.is_empty() {
            return Err(TemplateError::NotATopic {
                reason: format!("\"{source}\" holds {{}}; name the param between the braces"),
            });
        }
        pieces.extend((!text.is_empty()).then_some(Piece::Text(text)));
        pieces.push(Piece::Placeholder(name));
        rest = &after[close + 1..];
    }
    if rest.contains('}') {
        return Err(unpaired());
    }
    pieces.extend((!rest.is_empty()).then_some(Piece::Text(rest)));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(source: &str) -> String {
        TopicTemplate::parse(source, "r", &["id", "rest"]).expect_err(source).to_string()
    }

    #[test]
    fn a_template_is_filled_with_params_and_the_route() {
        for (source, topic) in [
            ("a/b", "a/b"),
            ("{id}", "7"),
            ("a/{id}/x", "a/7/x"),
            ("a/dev-{id}-{route}/{id}", "a/dev-7-r/7"),
            ("dead/{route}", "dead/r"),
        ] {
            let template = TopicTemplate::parse(source, "r", &["id", "rest"]).expect(source);
            assert_eq!(template.render(|_| "7"), Ok(topic.to_owned()), "{source}");
        }
    }

    #[test]
    fn a_refused_template_names_the_fault_and_the_fix() {
        for (source, message) in [
            ("", "the topic is empty; write where to publish to"),
            ("a/{di}", "no param {di} in the route's pattern; it has {id}, {rest}"),
            (
                "a/+",
                "\"a/+\" holds the wildcard \"+\"; a topic to publish to has none, use {param} for a value",
            ),
            (
                "a/#",
                "\"a/#\" holds the wildcard \"#\"; a topic to publish to has none, use {param} for a value",
            ),
            (
                "a\0",
                "\"a\\0\" holds the character U+0000, which brokers refuse in a topic; remove it",
            ),
            ("a/{id", "\"a/{id\" holds a brace without its partner; write {param}"),
            ("a/id}", "\"a/id}\" holds a brace without its partner; write {param}"),
            ("a}/{id}", "\"a}/{id}\" holds a brace without its partner; write {param}"),
            ("{{id}}", "\"{{id}}\" holds a brace without its partner; write {param}"),
            ("a/{}", "\"a/{}\" holds {}; name the param between the braces"),
            (
                "$share/g/a",
                "\"$share/g/a\" begins with $share; a shared subscription is no topic to publish to",
            ),
        ] {
            assert_eq!(refused(source), message, "{source}");
        }
        let none = TopicTemplate::parse("{x}", "r", &[]).expect_err("no params");
        assert_eq!(none.to_string(), "no param {x} in the route's pattern; it has none");
    }

    #[test]
    fn a_value_that_would_change_the_topic_is_a_permanent_error() {
        let inside = TopicTemplate::parse("a/{rest}", "r", &["rest"]).expect("good");
        let first = TopicTemplate::parse("{rest}/a", "r", &["rest"]).expect("good");
        let alone = TopicTemplate::parse("{rest}", "r", &["rest"]).expect("good");
        for value in ["x/y", "+", "a#", "\0", "\n"] {
            let error = inside.render(|_| value).expect_err(value);
            assert!(matches!(error, TemplateError::ForbiddenValue { .. }), "{value:?}: {error}");
        }
        assert!(inside.render(|_| "$x").is_ok());
        assert!(first.render(|_| "$SYS").is_err());
        let empty = alone.render(|_| "").expect_err("empty");
        assert_eq!(empty.to_string(), "topic of 0 bytes from \"{rest}\"; MQTT allows 1 to 65535");
        let long = "x".repeat(MAX_TOPIC_BYTES);
        assert!(matches!(inside.render(|_| &long), Err(TemplateError::Length { .. })));
    }

    #[test]
    fn a_template_can_match_what_its_values_allow() {
        for (source, filter, can) in [
            ("a/{id}", "a/+", true),
            ("a/{id}", "a/b", true),
            ("a/{id}", "b/+", false),
            ("a/{id}", "a/#", true),
            ("a/{id}", "a/{id}/x", false),
            ("a/dev-{id}", "a/dev-7", true),
            ("a/dev-{id}", "a/gw-7", false),
            ("a/{id}-x", "a/7-y", false),
            ("$x/{id}", "#", false),
            ("a", "a/#", true),
        ] {
            let template = TopicTemplate::parse(source, "r", &["id"]).expect(source);
            assert_eq!(template.can_match(filter), can, "{source} against {filter}");
        }
    }
}
