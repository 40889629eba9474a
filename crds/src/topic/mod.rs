//! Topics, filters and patterns (MQTT 5, section 4.7; `docs/topics.md` has the whole syntax).

mod pattern;

pub use pattern::{Level, ParamKind, Pattern, PatternError};
