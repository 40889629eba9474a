/// A topic pattern: levels between slashes. See `docs/topics.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pub(super) source: String,
    pub(super) levels: Vec<Level>,
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

/// What tells two routes apart: the filter, with typed params kept. Two patterns of one key match
/// the same topics but for empty levels, so no rule could choose between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RouteKey(String);

impl Pattern {
    /// The pattern as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Its levels; never empty.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Names of its params in order, the tail's last.
    #[must_use]
    pub fn params(&self) -> Vec<&str> {
        self.levels.iter().filter_map(Level::name).collect()
    }

    /// The MQTT filter that covers it: params become `+`, a tail becomes `#`.
    #[must_use]
    pub fn filter(&self) -> String {
        self.joined(|level| match level {
            Level::Literal(text) => text,
            Level::Param { .. } | Level::Any => "+",
            Level::Tail { .. } | Level::Rest => "#",
        })
    }

    /// Equal for two patterns that differ in names only (and `{p}` counts as `+`, a tail as `#`).
    #[must_use]
    pub fn key(&self) -> RouteKey {
        RouteKey(self.joined(|level| match level {
            Level::Literal(text) => text,
            Level::Param { kind, .. } => kind.key(),
            Level::Any => "+",
            Level::Tail { .. } | Level::Rest => "#",
        }))
    }

    fn joined<'a>(&'a self, text: impl Fn(&'a Level) -> &'a str) -> String {
        self.levels.iter().map(text).collect::<Vec<_>>().join("/")
    }
}

impl Level {
    /// The name in braces, of a param or a tail.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Param { name, .. } | Self::Tail { name } => Some(name),
            Self::Literal(_) | Self::Any | Self::Rest => None,
        }
    }

    /// Whether it matches more than one text.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        !matches!(self, Self::Literal(_))
    }
}

impl ParamKind {
    /// Whether one level of a topic is of this kind.
    #[must_use]
    pub fn accepts(self, level: &str) -> bool {
        match self {
            Self::Text => !level.is_empty(),
            Self::Int => level.parse::<i64>().is_ok(),
            Self::Float => level.parse::<f64>().is_ok_and(f64::is_finite),
            Self::Uuid => is_uuid(level),
        }
    }

    /// Braces cannot stand in a literal level, so no filter is mistaken for a key.
    fn key(self) -> &'static str {
        match self {
            Self::Text => "+",
            Self::Int => "{:int}",
            Self::Float => "{:float}",
            Self::Uuid => "{:uuid}",
        }
    }
}

fn is_uuid(level: &str) -> bool {
    level.len() == 36
        && level.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
