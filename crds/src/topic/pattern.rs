/// A topic pattern: levels between slashes. See `docs/topics.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    source: String,
    levels: Vec<Level>,
}

/// One level of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// Compared byte by byte; may be empty.
    Literal(String),
    /// Exactly one non-empty level of this kind.
    Param {
        /// The name in braces.
        name: String,
        /// What the level must parse as.
        kind: ParamKind,
    },
    /// `+`: exactly one level, maybe empty, unnamed.
    Any,
    /// `{name...}`, last only: zero or more levels.
    Tail {
        /// The name in braces.
        name: String,
    },
    /// `#`, last only: zero or more levels, unnamed.
    Rest,
}

/// What a param's level must parse as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParamKind {
    /// Anything but the empty level.
    Text,
    /// A decimal `i64`, optional sign.
    Int,
    /// A decimal `f64`, finite.
    Float,
    /// 8-4-4-4-12 hex digits, either case.
    Uuid,
}

/// Why a pattern is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// Names the level, the fault and the fix.
    pub message: String,
}

impl Pattern {
    /// Parses a whole pattern (prefixes already joined).
    ///
    /// # Errors
    /// See [`PatternError`].
    pub fn parse(source: &str) -> Result<Self, PatternError> {
        let levels = source.split('/').map(|level| Level::Literal(level.to_owned())).collect();
        Ok(Self { source: source.to_owned(), levels })
    }

    /// The pattern as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its levels.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Names of its params in order, the tail's last.
    #[must_use]
    pub fn params(&self) -> Vec<&str> {
        self.levels
            .iter()
            .filter_map(|level| match level {
                Level::Param { name, .. } | Level::Tail { name } => Some(name.as_str()),
                _ => None,
            })
            .collect()
    }

    /// The MQTT filter that covers it: params become `+`, a tail becomes `#`.
    #[must_use]
    pub fn filter(&self) -> String {
        let level = |level: &Level| match level {
            Level::Literal(text) => text.clone(),
            Level::Param { .. } | Level::Any => "+".to_owned(),
            Level::Tail { .. } | Level::Rest => "#".to_owned(),
        };
        self.levels.iter().map(level).collect::<Vec<_>>().join("/")
    }
}
