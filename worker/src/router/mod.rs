//! From a topic to the route it belongs to.

mod captures;
#[cfg(test)]
mod cases;
mod matcher;
mod node;
#[cfg(test)]
mod tests;
mod trie;

pub use captures::Captures;
pub use matcher::Matcher;
