//! A document as a tree in which every value knows its place.

use serde_json::{Map, Number};

/// A place in a file, 1-based. Columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

/// A value as kubectl reads it. `written` is what stands in the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// Already refused by the reader: nothing more is said of it.
    Refused,
    Null,
    Bool {
        value: bool,
        written: String,
    },
    Number {
        number: Number,
        written: String,
    },
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One field of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: Position,
    pub(super) node: Node,
}

impl Entry {
    /// Where a problem of this field is told: at a scalar, else at the key (a block starts a line later).
    pub(super) fn position(&self) -> Position {
        match self.node.value {
            Value::Bool { .. } | Value::Number { .. } | Value::Text(_) => self.node.at,
            Value::Refused | Value::Null | Value::List(_) | Value::Map(_) => self.key_at,
        }
    }
}

impl Node {
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match &self.entry(key)?.node.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Where `field` (`spec.routes[2].topic`) stands, or what encloses it if it is not there.
    pub(super) fn locate(&self, field: &str) -> Position {
        let (mut node, mut position) = (self, self.at);
        let mut rest = field;
        while let Some((next, at, left)) = node.step(rest) {
            (node, position, rest) = (next, at, left);
        }
        position
    }

    /// One step along a path: the child, its place, the rest of the path.
    fn step<'p>(&self, path: &'p str) -> Option<(&Node, Position, &'p str)> {
        let path = path.strip_prefix('.').unwrap_or(path);
        match &self.value {
            Value::Map(entries) => {
                // The longest key first: keys of maps may hold dots.
                let fits = |entry: &&Entry| after_key(path, &entry.key).is_some();
                let entry = entries.iter().filter(fits).max_by_key(|entry| entry.key.len())?;
                Some((&entry.node, entry.position(), after_key(path, &entry.key)?))
            }
            Value::List(items) => {
                let (index, left) = path.strip_prefix('[')?.split_once(']')?;
                let item = items.get(index.parse::<usize>().ok()?)?;
                Some((item, item.at, left))
            }
            _ => None,
        }
    }

    /// The value without its places.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null | Value::Refused => serde_json::Value::Null,
            Value::Bool { value, .. } => (*value).into(),
            Value::Number { number, .. } => number.clone().into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => {
                let fields = entries.iter().map(|e| (e.key.clone(), e.node.to_json()));
                serde_json::Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }
}

fn after_key<'p>(path: &'p str, key: &str) -> Option<&'p str> {
    let bracketed = path.strip_prefix('[').and_then(|p| p.strip_prefix(key)?.strip_prefix(']'));
    let plain =
        path.strip_prefix(key).filter(|left| left.is_empty() || left.starts_with(['.', '[']));
    bracketed.or(plain)
}
