//! Filters by level, so that comparing each with all others is not the square of their number.

use std::collections::HashMap;

use crate::topic::written_out;

/// MQTT filters, by index.
#[derive(Default)]
pub(super) struct FilterTrie<'a> {
    nodes: Vec<Node<'a>>,
}

#[derive(Default)]
struct Node<'a> {
    literals: HashMap<&'a str, usize>,
    any: Option<usize>,
    ends: Vec<usize>,
    rests: Vec<usize>,
}

/// One level of what is looked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'q> {
    Exactly(&'q str),
    /// Any text.
    Any,
    /// All that follows, maybe nothing.
    Rest,
}

impl<'q> Wanted<'q> {
    pub(super) fn of_filter(filter: &'q str) -> Vec<Self> {
        let level = |level| match level {
            "+" => Self::Any,
            "#" => Self::Rest,
            literal => Self::Exactly(literal),
        };
        written_out(filter).split('/').map(level).collect()
    }

    /// Of a topic template's shape: a level with a placeholder may be any text.
    pub(super) fn of_shape(shape: &'q str) -> Vec<Self> {
        let level = |text: &'q str| {
            if text.contains('\0') { Self::Any } else { Self::Exactly(text) }
        };
        shape.split('/').map(level).collect()
    }
}

impl<'a> FilterTrie<'a> {
    pub(super) fn new(filters: impl IntoIterator<Item = &'a str>) -> Self {
        let mut trie = Self { nodes: vec![Node::default()] };
        for (index, filter) in filters.into_iter().enumerate() {
            trie.insert(index, filter);
        }
        trie
    }

    fn insert(&mut self, index: usize, filter: &'a str) {
        let mut at = 0;
        for level in written_out(filter).split('/') {
            at = match level {
                "#" => return self.nodes[at].rests.push(index),
                "+" => self.nodes[at].any.unwrap_or_else(|| self.add(at, None)),
                text => match self.nodes[at].literals.get(text) {
                    Some(child) => *child,
                    None => self.add(at, Some(text)),
                },
            };
        }
        self.nodes[at].ends.push(index);
    }

    fn add(&mut self, parent: usize, literal: Option<&'a str>) -> usize {
        let child = self.nodes.len();
        self.nodes.push(Node::default());
        match literal {
            Some(text) => _ = self.nodes[parent].literals.insert(text, child),
            None => self.nodes[parent].any = Some(child),
        }
        child
    }

    /// Calls `found` with each filter that shares a topic with what is wanted, until it says stop
    /// (true). Topics that start with `$` are hidden from leading wildcards (MQTT-4.7.2-1).
    pub(super) fn find(&self, wanted: &[Wanted<'_>], found: &mut dyn FnMut(usize) -> bool) {
        let mut stack = vec![(0, 0)];
        while let Some((at, depth)) = stack.pop() {
            let node = &self.nodes[at];
            let is_dollar = |text: &str| depth == 0 && text.starts_with('$');
            let hides_rest =
                matches!(wanted.first(), Some(Wanted::Exactly(text)) if is_dollar(text));
            if !hides_rest && node.rests.iter().any(|index| found(*index)) {
                return;
            }
            match wanted.get(depth) {
                None => {
                    if node.ends.iter().any(|index| found(*index)) {
                        return;
                    }
                }
                Some(Wanted::Exactly(text)) => {
                    stack.extend(node.literals.get(text).map(|child| (*child, depth + 1)));
                    stack.extend(node.any.filter(|_| !is_dollar(text)).map(|any| (any, depth + 1)));
                }
                Some(Wanted::Any) => {
                    let visible = node.literals.iter().filter(|(text, _)| !is_dollar(text));
                    stack.extend(visible.map(|(_, child)| (*child, depth + 1)));
                    stack.extend(node.any.map(|any| (any, depth + 1)));
                }
                Some(Wanted::Rest) => {
                    if self.find_below(at, depth, found) {
                        return;
                    }
                }
            }
        }
    }

    /// All filters from a node on, but for its `rests`, which were told.
    fn find_below(&self, at: usize, depth: usize, found: &mut dyn FnMut(usize) -> bool) -> bool {
        let mut stack = vec![at];
        while let Some(below) = stack.pop() {
            let node = &self.nodes[below];
            let rests = node.rests.iter().filter(|_| below != at);
            if node.ends.iter().chain(rests).any(|index| found(*index)) {
                return true;
            }
            let hidden = |text: &str| depth == 0 && below == at && text.starts_with('$');
            let visible = node.literals.iter().filter(|(text, _)| !hidden(text));
            stack.extend(visible.map(|(_, child)| *child).chain(node.any));
        }
        false
    }
}
