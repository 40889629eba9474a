use std::cmp::Reverse;

use routemq_crds::topic::{MAX_TOPIC_BYTES, ParamKind, Pattern};

use super::{
    captures::{Captures, Span},
    node::{Edge, Node},
    trie::{Entry, List, NONE, ROOT, Trie},
};

/// Finds the most specific pattern that a topic matches.
///
/// A level trie walked depth first, the most specific edge first, so that the first pattern that is
/// reached is the winner. At most one hash probe a level, no allocation (up to eight params), no recursion.
///
/// **Bound.** An edge consumes exactly one level and a node has exactly one parent, so a search
/// enters no node twice: at worst it sees every node once, however many levels the topic has.
#[derive(Debug)]
pub struct Matcher {
    trie: Trie,
}

impl Matcher {
    /// Of patterns that are named by their index. Where two cannot be told apart, the first wins.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a Pattern>) -> Self {
        let mut patterns: Vec<(usize, &Pattern)> = patterns.into_iter().enumerate().collect();
        patterns
            .sort_by(|(i, a), (j, b)| b.compare_specificity(a).then(Reverse(i).cmp(&Reverse(j))));
        let mut trie = Trie::new();
        for (index, pattern) in patterns {
            trie.insert(index, pattern);
        }
        Self { trie }
    }

    /// The index of the most specific pattern that matches `topic`; fills `captures` with the values
    /// of its params, and leaves nothing in them where there is none.
    pub fn find(&self, topic: &str, captures: &mut Captures) -> Option<usize> {
        captures.clear();
        if topic.is_empty() || topic.len() > MAX_TOPIC_BYTES {
            return None;
        }
        let mut search = Search { trie: &self.trie, topic, captures, at: 0, empty: 0 };
        let found = search.run();
        if found.is_none() {
            captures.clear();
        }
        found
    }
}

struct Search<'a> {
    trie: &'a Trie,
    topic: &'a str,
    /// The levels taken by wildcard edges on the way to the node.
    captures: &'a mut Captures,
    /// Where the next level begins; beyond the topic's end when all are consumed.
    at: usize,
    /// How many of `captures` are empty.
    empty: usize,
}

impl Search<'_> {
    fn run(&mut self) -> Option<usize> {
        let (mut node, mut first) = (ROOT, Some(Edge::Literal));
        loop {
            if let Some(child) = self.descend(node, first) {
                (node, first) = (child, Some(Edge::Literal));
                continue;
            }
            let here = self.trie.node(node);
            if let Some(found) = self.finish(node, here) {
                return Some(found);
            }
            (node, first) = self.back(node, here)?;
        }
    }

    /// Enters the node's first child from `first` on that takes the next level.
    fn descend(&mut self, node: u32, first: Option<Edge>) -> Option<u32> {
        let rest = self.topic.get(self.at..)?;
        let level = &rest[..level_length(rest.as_bytes())];
        let here = self.trie.node(node);
        let end = self.at + level.len();
        let first = first?;
        if first == Edge::Literal
            && let Some(child) = self.trie.literal(node, here.literals, level.as_bytes())
        {
            self.at = end + 1;
            return Some(child);
        }
        if !here.has_wild || self.is_hidden(node) {
            return None;
        }
        let edges = Edge::WILD.into_iter().filter(|edge| *edge >= first);
        let (_, child) = edges
            .map(|edge| (edge, here.wild(edge)))
            .find(|(edge, child)| *child != NONE && accepts(*edge, level))?;
        self.captures.push(Span::new(self.at, end)?);
        self.empty += usize::from(level.is_empty());
        self.at = end + 1;
        Some(child)
    }

    /// A pattern that starts with a wildcard never matches a `$…` topic (MQTT-4.7.2-1).
    fn is_hidden(&self, node: u32) -> bool {
        node == ROOT && self.topic.starts_with('$')
    }

    /// The pattern that ends here, or whose tail takes what is left.
    fn finish(&mut self, node: u32, here: &Node) -> Option<usize> {
        let all_consumed = self.at > self.topic.len();
        let ended = if all_consumed { self.first_of(here.ends) } else { None };
        ended.or_else(|| if self.is_hidden(node) { None } else { self.first_of(here.tails) })
    }

    /// The first pattern of a list that takes what was captured.
    fn first_of(&mut self, list: u32) -> Option<usize> {
        match List::of(list) {
            List::Empty => None,
            List::Alone(pattern) => (self.empty == 0).then_some(pattern as usize),
            List::From(first) => {
                let mut entries = self.trie.entries(first);
                let entry = entries.find(|entry| self.has_no_empty_param(entry))?;
                self.keep(entry)
            }
        }
    }

    fn keep(&mut self, entry: &Entry) -> Option<usize> {
        if let Some(named) = &entry.named {
            self.captures.keep(named);
            self.empty = 0;
        }
        if entry.has_named_tail {
            let end = self.topic.len();
            self.captures.push(Span::new(self.at.min(end), end)?);
        }
        Some(entry.pattern as usize)
    }

    /// `{p}` never takes an empty level, `+` does.
    fn has_no_empty_param(&self, entry: &Entry) -> bool {
        let Some(named) = &entry.named else { return self.empty == 0 };
        let mut levels = named.iter().zip(self.captures.spans());
        self.empty == 0 || levels.all(|(named, span)| !(*named && span.is_empty()))
    }

    /// Gives the node's level back; its parent goes on with the next edge, or its own tail.
    fn back(&mut self, node: u32, here: &Node) -> Option<(u32, Option<Edge>)> {
        if node == ROOT {
            return None;
        }
        if here.edge == Edge::Literal {
            self.at -= here.literal().len() + 1;
        } else {
            let span = self.captures.pop()?;
            self.empty -= usize::from(span.is_empty());
            self.at = usize::from(span.start);
        }
        Some((here.parent, less_specific(here.edge)))
    }
}

/// Up to the next slash, or all. Levels are short: eight bytes at a time cost less than the call of what is made for long texts.
fn level_length(rest: &[u8]) -> usize {
    const SLASHES: u64 = u64::from_ne_bytes([b'/'; 8]);
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let (words, tail) = rest.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        // The lowest byte that is zero is marked, whatever is marked above it.
        let word = u64::from_le_bytes(*word) ^ SLASHES;
        let zero = word.wrapping_sub(LOW) & !word & HIGH;
        if zero != 0 {
            return index * 8 + zero.trailing_zeros() as usize / 8;
        }
    }
    let in_tail = tail.iter().position(|byte| *byte == b'/').unwrap_or(tail.len());
    words.len() * 8 + in_tail
}

fn less_specific(edge: Edge) -> Option<Edge> {
    match edge {
        Edge::Literal => Some(Edge::Int),
        Edge::Int => Some(Edge::Uuid),
        Edge::Uuid => Some(Edge::Float),
        Edge::Float => Some(Edge::Any),
        Edge::Any => None,
    }
}

fn accepts(edge: Edge, level: &str) -> bool {
    match edge {
        Edge::Literal | Edge::Any => true,
        Edge::Int => ParamKind::Int.accepts(level),
        Edge::Uuid => ParamKind::Uuid.accepts(level),
        Edge::Float => ParamKind::Float.accepts(level),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::level_length;

    proptest! {
        #[test]
        fn a_level_ends_where_a_naive_search_finds_the_slash(
            rest in prop::collection::vec(prop_oneof![Just(b'/'), Just(b'.'), Just(b'0'), Just(0xAF), any::<u8>()], 0..40)
        ) {
            let naive = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            prop_assert_eq!(level_length(&rest), naive);
        }
    }
}
