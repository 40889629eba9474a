//! Topics, filters and patterns (MQTT 5, section 4.7; `docs/topics.md` has the whole syntax).

mod filter;
mod join;
mod matching;
mod order;
mod parse;
mod pattern;
#[cfg(test)]
mod tests;
mod text;

pub(crate) use filter::written_out;
pub use filter::{filter_covers, filter_matches, filters_overlap};
pub use join::join;
pub use parse::PatternError;
pub use pattern::{Level, ParamKind, Pattern, RouteKey};
pub use text::{MAX_TOPIC_BYTES, forbidden_character};
