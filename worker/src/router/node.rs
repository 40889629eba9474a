//! A node of the trie, as large as a line of the processor's cache.

use smallvec::SmallVec;

use super::trie::{NONE, ROOT};

/// How a node is reached, in the order in which a search tries: the most specific first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Edge {
    Literal,
    Int,
    Uuid,
    Float,
    /// `{p}` and `+` share it: they rank the same, and differ for an empty level only.
    Any,
}

impl Edge {
    /// All but the literal.
    pub(super) const WILD: [Self; 4] = [Self::Int, Self::Uuid, Self::Float, Self::Any];
}

/// What a node's literal children are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Literals {
    None,
    /// The only one: it is compared where it is, which saves a hash and two lines of the cache.
    One(u32),
    /// They are in the trie's hash table.
    Many,
}

/// A prefix of patterns. A search reads a line of the cache for each, and with many routes hardly anything else costs time.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Node {
    pub(super) parent: u32,
    /// `Int`, `Uuid`, `Float`, `Any`.
    wild: [u32; 4],
    /// Patterns that end here.
    pub(super) ends: u32,
    /// Patterns whose tail or `#` begins here.
    pub(super) tails: u32,
    pub(super) literals: Literals,
    pub(super) edge: Edge,
    pub(super) has_wild: bool,
    /// Most levels are short: they stand where they are compared.
    literal: SmallVec<[u8; 16]>,
}

impl Node {
    pub(super) fn root() -> Self {
        Self::new(ROOT, Edge::Literal, "")
    }

    /// `literal` is empty where a wildcard leads here.
    pub(super) fn new(parent: u32, edge: Edge, literal: &str) -> Self {
        Self {
            parent,
            wild: [NONE; 4],
            ends: NONE,
            tails: NONE,
            literals: Literals::None,
            edge,
            has_wild: false,
            literal: SmallVec::from_slice(literal.as_bytes()),
        }
    }

    /// The child by a wildcard edge, or [`NONE`].
    pub(super) fn wild(&self, edge: Edge) -> u32 {
        self.wild[edge as usize - 1]
    }

    pub(super) fn set_wild(&mut self, edge: Edge, child: u32) {
        self.wild[edge as usize - 1] = child;
        self.has_wild = true;
    }

    /// The level that leads here, if a literal does.
    pub(super) fn literal(&self) -> &[u8] {
        &self.literal
    }
}

#[cfg(test)]
mod tests {
    use super::{Edge, Node, ROOT};

    #[test]
    fn a_node_is_a_line_of_the_cache() {
        assert_eq!(size_of::<Node>(), 64);
    }

    #[test]
    fn a_text_is_what_it_was_made_of_short_or_long() {
        for length in [0, 1, 15, 16, 17, 300] {
            let text = "é".repeat(length / 2) + &"x".repeat(length % 2);
            let node = Node::new(ROOT, Edge::Literal, &text);
            assert_eq!(node.literal(), text.as_bytes(), "{length} bytes");
        }
    }
}
