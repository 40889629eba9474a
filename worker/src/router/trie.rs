//! Patterns by level: an edge consumes one level, so a node is a prefix of patterns.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use routemq_crds::topic::{Level, ParamKind, Pattern};
use smallvec::SmallVec;

/// No node and no list: the root is nobody's child, and lists count from one.
pub(super) const NONE: u32 = 0;
pub(super) const ROOT: u32 = 0;

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

#[derive(Debug)]
pub(super) struct Node {
    pub(super) parent: u32,
    pub(super) edge: Edge,
    /// Bytes of the literal, for the way back.
    pub(super) literal_length: u16,
    pub(super) has_literals: bool,
    pub(super) has_wild: bool,
    /// `Int`, `Uuid`, `Float`, `Any`.
    wild: [u32; 4],
    /// Patterns that end here.
    pub(super) ends: u32,
    /// Patterns whose tail or `#` begins here.
    pub(super) tails: u32,
}

/// One pattern of a node's list.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) pattern: u32,
    pub(super) next: u32,
    /// Per wildcard level: whether it is a param. `None`: all are.
    pub(super) named: Option<Box<[bool]>>,
    /// Whether the tail has a name.
    pub(super) has_named_tail: bool,
}

#[derive(Debug)]
struct LiteralEdge {
    parent: u32,
    child: u32,
    /// Most are short: kept where they are compared.
    text: SmallVec<[u8; 16]>,
}

#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    entries: Vec<Entry>,
    literals: HashTable<LiteralEdge>,
    longest_literal: usize,
    hasher: FixedState,
}

impl Trie {
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![Node::new(ROOT, Edge::Literal, 0)],
            entries: Vec::new(),
            literals: HashTable::new(),
            longest_literal: 0,
            // Only the owner of the spec puts texts in, so a fixed seed cannot be flooded.
            hasher: FixedState::default(),
        }
    }

    /// Patterns are to be added least specific first: a list is read from its newest entry.
    pub(super) fn insert(&mut self, index: usize, pattern: &Pattern) {
        let mut at = ROOT;
        for level in pattern.levels() {
            at = match level {
                Level::Literal(text) => self.literal_or_new(at, text),
                Level::Param { kind, .. } => self.wild_or_new(at, edge_of(*kind)),
                Level::Any => self.wild_or_new(at, Edge::Any),
                Level::Tail { .. } | Level::Rest => break,
            };
        }
        let end = pattern.levels().last();
        let is_tail = matches!(end, Some(Level::Tail { .. } | Level::Rest));
        let node = &mut self.nodes[at as usize];
        let list = if is_tail { &mut node.tails } else { &mut node.ends };
        self.entries.push(Entry {
            pattern: narrow(index),
            next: *list,
            named: named(pattern),
            has_named_tail: matches!(end, Some(Level::Tail { .. })),
        });
        *list = narrow(self.entries.len());
    }

    pub(super) fn node(&self, index: u32) -> &Node {
        &self.nodes[index as usize]
    }

    /// The entries of a node's list.
    pub(super) fn list(&self, first: u32) -> impl Iterator<Item = &Entry> {
        let entry = |index: u32| self.entries.get((index as usize).checked_sub(1)?);
        std::iter::successors(entry(first), move |before| entry(before.next))
    }

    /// The child by a literal: one hash probe.
    pub(super) fn literal(&self, parent: u32, text: &str) -> Option<u32> {
        if text.len() > self.longest_literal {
            return None;
        }
        let same = |edge: &LiteralEdge| edge.parent == parent && edge.text[..] == *text.as_bytes();
        self.literals.find(self.hash(parent, text), same).map(|edge| edge.child)
    }

    fn literal_or_new(&mut self, parent: u32, text: &str) -> u32 {
        if let Some(child) = self.literal(parent, text) {
            return child;
        }
        let child = self.add(parent, Edge::Literal, text.len());
        self.nodes[parent as usize].has_literals = true;
        self.longest_literal = self.longest_literal.max(text.len());
        let (hasher, hash_of_text) = (&self.hasher, self.hash(parent, text));
        self.literals.insert_unique(
            hash_of_text,
            LiteralEdge { parent, child, text: SmallVec::from_slice(text.as_bytes()) },
            |edge| hash(hasher, edge.parent, &edge.text),
        );
        child
    }

    fn wild_or_new(&mut self, parent: u32, edge: Edge) -> u32 {
        let slot = edge as usize - 1;
        if self.nodes[parent as usize].wild[slot] == NONE {
            self.nodes[parent as usize].wild[slot] = self.add(parent, edge, 0);
            self.nodes[parent as usize].has_wild = true;
        }
        self.nodes[parent as usize].wild[slot]
    }

    fn add(&mut self, parent: u32, edge: Edge, literal_length: usize) -> u32 {
        let literal_length = u16::try_from(literal_length).unwrap_or(u16::MAX);
        self.nodes.push(Node::new(parent, edge, literal_length));
        narrow(self.nodes.len() - 1)
    }

    fn hash(&self, parent: u32, text: &str) -> u64 {
        hash(&self.hasher, parent, text.as_bytes())
    }
}

impl Node {
    fn new(parent: u32, edge: Edge, literal_length: u16) -> Self {
        Self {
            parent,
            edge,
            literal_length,
            has_literals: false,
            has_wild: false,
            wild: [NONE; 4],
            ends: NONE,
            tails: NONE,
        }
    }

    /// The child by a wildcard edge, or [`NONE`].
    pub(super) fn wild(&self, edge: Edge) -> u32 {
        self.wild[edge as usize - 1]
    }
}

fn hash(hasher: &FixedState, parent: u32, text: &[u8]) -> u64 {
    let mut hasher = hasher.build_hasher();
    hasher.write_u32(parent);
    hasher.write(text);
    hasher.finish()
}

fn edge_of(kind: ParamKind) -> Edge {
    match kind {
        ParamKind::Int => Edge::Int,
        ParamKind::Uuid => Edge::Uuid,
        ParamKind::Float => Edge::Float,
        ParamKind::Text => Edge::Any,
    }
}

fn named(pattern: &Pattern) -> Option<Box<[bool]>> {
    let levels = pattern.levels();
    levels.contains(&Level::Any).then(|| {
        let wild = levels.iter().filter(|level| matches!(level, Level::Param { .. } | Level::Any));
        wild.map(|level| level.name().is_some()).collect()
    })
}

/// Four billion levels of patterns do not fit into memory.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
