//! Patterns by level: an edge consumes one level, so a node is a prefix of patterns.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use routemq_crds::topic::{Level, ParamKind, Pattern};

use super::node::{Edge, Literals, Node};

/// No node and no list: the root is nobody's child, and lists count from one.
pub(super) const NONE: u32 = 0;
pub(super) const ROOT: u32 = 0;

/// Marks a list of one pattern that needs no [`Entry`]: what is below is its index.
const ALONE: u32 = 1 << 31;

/// One pattern of a node's list.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) pattern: u32,
    next: u32,
    /// Per wildcard level: whether it is a param. `None`: all are.
    pub(super) named: Option<Box<[bool]>>,
    /// Whether the tail has a name.
    pub(super) has_named_tail: bool,
}

/// What a node's list is.
#[derive(Debug)]
pub(super) enum List {
    Empty,
    /// One pattern, whose wildcards are all params, and that has no tail with a name.
    Alone(u32),
    /// From this entry on.
    From(usize),
}

impl List {
    /// As a node has it.
    pub(super) fn of(list: u32) -> Self {
        match list {
            NONE => Self::Empty,
            alone if alone & ALONE != 0 => Self::Alone(alone & !ALONE),
            first => Self::From(first as usize - 1),
        }
    }
}

#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    entries: Vec<Entry>,
    /// The literal children of nodes that have more than one.
    literals: HashTable<u32>,
    /// Of those. A longer level of a topic, which its sender chooses, is not hashed.
    longest_literal: usize,
    hasher: FixedState,
}

impl Trie {
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![Node::root()],
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
        let node = &self.nodes[at as usize];
        let is_tail = matches!(end, Some(Level::Tail { .. } | Level::Rest));
        let list = if is_tail { node.tails } else { node.ends };
        let entry = Entry {
            pattern: narrow(index),
            next: NONE,
            named: named(pattern),
            has_named_tail: matches!(end, Some(Level::Tail { .. })),
        };
        let list = self.with(list, entry);
        let node = &mut self.nodes[at as usize];
        *(if is_tail { &mut node.tails } else { &mut node.ends }) = list;
    }

    /// The list with one more at its head.
    fn with(&mut self, list: u32, entry: Entry) -> u32 {
        let is_plain = entry.named.is_none() && !entry.has_named_tail;
        if list == NONE && is_plain {
            return ALONE | entry.pattern;
        }
        let next = match List::of(list) {
            List::Alone(pattern) => {
                self.push(Entry { pattern, next: NONE, named: None, has_named_tail: false })
            }
            List::Empty | List::From(_) => list,
        };
        self.push(Entry { next, ..entry })
    }

    fn push(&mut self, entry: Entry) -> u32 {
        self.entries.push(entry);
        narrow(self.entries.len())
    }

    pub(super) fn node(&self, index: u32) -> &Node {
        &self.nodes[index as usize]
    }

    /// The entries from this one on.
    pub(super) fn entries(&self, first: usize) -> impl Iterator<Item = &Entry> {
        let next = |entry: &&Entry| self.entries.get((entry.next as usize).checked_sub(1)?);
        std::iter::successors(self.entries.get(first), next)
    }

    /// The child by a literal: one hash probe, or none where it is the only one.
    pub(super) fn literal(&self, parent: u32, literals: Literals, text: &[u8]) -> Option<u32> {
        match literals {
            Literals::None => None,
            Literals::One(child) => (self.node(child).literal() == text).then_some(child),
            Literals::Many if text.len() > self.longest_literal => None,
            Literals::Many => {
                let same = |child: &u32| {
                    let child = self.node(*child);
                    child.parent == parent && child.literal() == text
                };
                self.literals.find(hash(&self.hasher, parent, text), same).copied()
            }
        }
    }

    fn literal_or_new(&mut self, parent: u32, text: &str) -> u32 {
        let literals = self.node(parent).literals;
        if let Some(child) = self.literal(parent, literals, text.as_bytes()) {
            return child;
        }
        let child = self.add(Node::new(parent, Edge::Literal, text));
        let of_both = match literals {
            Literals::None => Literals::One(child),
            Literals::One(first) => {
                self.index(first);
                Literals::Many
            }
            Literals::Many => Literals::Many,
        };
        if of_both == Literals::Many {
            self.index(child);
        }
        self.nodes[parent as usize].literals = of_both;
        child
    }

    /// Puts a literal child into the hash table.
    fn index(&mut self, child: u32) {
        self.longest_literal = self.longest_literal.max(self.node(child).literal().len());
        let Self { nodes, literals, hasher, .. } = self;
        let hash_of = |child: &u32| {
            let child = &nodes[*child as usize];
            hash(hasher, child.parent, child.literal())
        };
        literals.insert_unique(hash_of(&child), child, hash_of);
    }

    fn wild_or_new(&mut self, parent: u32, edge: Edge) -> u32 {
        match self.node(parent).wild(edge) {
            NONE => {
                let child = self.add(Node::new(parent, edge, ""));
                self.nodes[parent as usize].set_wild(edge, child);
                child
            }
            child => child,
        }
    }

    fn add(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        narrow(self.nodes.len() - 1)
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

/// Two billion levels of patterns do not fit into memory.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX).min(!ALONE)
}
