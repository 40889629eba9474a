//! From text to trees: one per YAML document, bounded in size and depth.

use std::collections::HashMap;

use granit_parser::{Event, Marker, Options, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::{
    number,
    tree::{Entry, Node, Position, Value},
};

mod syntax;

use syntax::syntax;

/// Values that one file may hold, those that aliases repeat included.
const MAX_NODES: usize = 200_000;
/// Levels of nesting.
const MAX_DEPTH: usize = 100;

/// What is wrong with the text itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) at: Position,
    /// The field, where one can be named.
    pub(super) field: String,
    pub(super) message: String,
}

/// A document and what is wrong with its text, short of its syntax.
pub(super) struct Read {
    pub(super) tree: Node,
    pub(super) faults: Vec<Fault>,
}

/// Reads every document of a text. One with a syntax error is left out and told; the next ones are read.
pub(super) fn documents(text: &str) -> (Vec<Read>, Vec<Fault>) {
    let mut reader = Reader::new(text);
    let (mut documents, mut broken) = (Vec::new(), Vec::new());
    loop {
        match reader.document() {
            Ok(Some(tree)) => {
                documents.push(Read { tree, faults: std::mem::take(&mut reader.faults) });
            }
            Ok(None) => break,
            Err(Stop::Syntax(error)) => {
                broken.push(syntax(&error));
                if !matches!(reader.parser.proceed_next_document(), Ok(true)) {
                    break;
                }
            }
            Err(Stop::TooLarge(at)) => {
                broken.push(Fault { at, field: String::new(), message: too_large() });
                break;
            }
        }
    }
    (documents, broken)
}

enum Stop {
    Syntax(ScanError),
    TooLarge(Position),
}

impl From<ScanError> for Stop {
    fn from(error: ScanError) -> Self {
        Self::Syntax(error)
    }
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    /// Finished anchors of this document, with how many values each holds.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    path: String,
    faults: Vec<Fault>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        let mut options = Options::default();
        options.block_nesting_limit = MAX_DEPTH;
        options.flow_nesting_limit = MAX_DEPTH;
        options.emit_comments = false;
        let parser = Parser::new_from_str_with_options(text, options);
        Self { parser, anchors: HashMap::new(), nodes: 0, path: String::new(), faults: Vec::new() }
    }

    fn next(&mut self) -> Result<(Event<'t>, Position), Stop> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, position(&span.start))),
            Some(Err(error)) => Err(error.into()),
            None => Ok((Event::StreamEnd, Position::default())),
        }
    }

    fn document(&mut self) -> Result<Option<Node>, Stop> {
        loop {
            match self.next()? {
                (Event::DocumentStart(..), _) => break,
                (Event::StreamEnd, _) => return Ok(None),
                _ => {}
            }
        }
        self.anchors.clear();
        self.faults.clear();
        self.path.clear();
        let (event, at) = self.next()?;
        let tree = self.node(event, at)?;
        Ok(Some(tree))
    }

    fn node(&mut self, event: Event<'t>, at: Position) -> Result<Node, Stop> {
        let before = self.nodes;
        self.count(1, at)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (self.scalar(&text, style, tag.as_deref(), at), anchor)
            }
            Event::SequenceStart(_, anchor, _) => (self.list()?, anchor),
            Event::MappingStart(_, anchor, _) => (self.map()?, anchor),
            Event::Alias(anchor) => return self.alias(anchor, at),
            _ => (Value::Null, 0),
        };
        let node = Node { at, value };
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    /// A file of a few lines can name the same list over and over: what aliases repeat is counted.
    fn count(&mut self, nodes: usize, at: Position) -> Result<(), Stop> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES { Err(Stop::TooLarge(at)) } else { Ok(()) }
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<Node, Stop> {
        let Some(size) = self.anchors.get(&anchor).map(|(_, size)| *size) else {
            self.fault(at, "an alias may not stand within its own anchor: write the value out");
            return Ok(Node { at, value: Value::Refused });
        };
        self.count(size, at)?;
        Ok(Node { at, value: self.anchors[&anchor].0.value.clone() })
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Position) -> Value {
        let value = match tag.map(|tag| (tag.is_custom(), tag.core_suffix())) {
            None if style == ScalarStyle::Plain => number::plain(text),
            None | Some((_, Some("str"))) => return Value::Text(text.to_owned()),
            Some((_, Some("bool" | "int" | "float" | "null"))) => number::plain(text),
            Some(_) => Err("has a YAML tag that kubectl does not know: remove it".to_owned()),
        };
        value.unwrap_or_else(|message| {
            self.fault(at, &message);
            Value::Refused
        })
    }

    fn list(&mut self) -> Result<Value, Stop> {
        let mut items = Vec::new();
        let outer = self.path.len();
        loop {
            let (event, at) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::List(items));
            }
            self.path.extend(["[", &items.len().to_string(), "]"]);
            items.push(self.node(event, at)?);
            self.path.truncate(outer);
        }
    }

    fn map(&mut self) -> Result<Value, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen = HashMap::new();
        let mut merged = Vec::new();
        let outer = self.path.len();
        loop {
            let (event, key_at) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let is_merge = is_merge_key(&event);
            let key = self.key(event, key_at)?;
            self.enter(&key);
            let (event, at) = self.next()?;
            let node = self.node(event, at)?;
            if is_merge {
                self.merge(node, &mut merged);
            } else if let Some(first) = seen.get(&key) {
                self.duplicate(&key, key_at, *first);
            } else {
                seen.insert(key.clone(), key_at);
                entries.push(Entry { key, key_at, node });
            }
            self.path.truncate(outer);
        }
        for entry in merged {
            if !seen.contains_key(&entry.key) {
                seen.insert(entry.key.clone(), entry.key_at);
                entries.push(entry);
            }
        }
        Ok(Value::Map(entries))
    }

    fn enter(&mut self, key: &str) {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(key);
    }

    /// kubectl turns keys into strings; where that would surprise, it is refused here.
    fn key(&mut self, event: Event<'t>, at: Position) -> Result<String, Stop> {
        let node = self.node(event, at)?;
        Ok(match node.value {
            Value::Text(text) => text,
            Value::Number { number, .. } if !number.is_f64() => number.to_string(),
            Value::Number { written, .. } => self.unusable_key(&written, "a number", at),
            Value::Bool { written, .. } => self.unusable_key(&written, "a boolean", at),
            Value::Null => self.unusable_key("", "null", at),
            Value::Refused => String::new(),
            Value::List(_) | Value::Map(_) => {
                self.fault(at, "a key must be a string, got a list or an object: quote text that starts with a brace or bracket");
                String::new()
            }
        })
    }

    fn unusable_key(&mut self, written: &str, kind: &str, at: Position) -> String {
        self.fault(at, &format!("the key {written} is {kind} in YAML: quote it, {written:?}"));
        written.to_owned()
    }

    fn merge(&mut self, node: Node, merged: &mut Vec<Entry>) {
        match node.value {
            Value::Map(entries) => merged.extend(entries),
            Value::List(items) => items.into_iter().for_each(|item| self.merge(item, merged)),
            _ => self.fault(node.at, "<< merges objects: name an anchor of an object, or quote it"),
        }
    }

    fn duplicate(&mut self, key: &str, at: Position, first: Position) {
        let line = first.line;
        self.fault(at, &format!("{key} is already set in line {line}: remove one of the two"));
    }

    fn fault(&mut self, at: Position, message: &str) {
        self.faults.push(Fault { at, field: self.path.clone(), message: message.to_owned() });
    }
}

fn is_merge_key(event: &Event<'_>) -> bool {
    matches!(event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<")
}

fn position(mark: &Marker) -> Position {
    Position { line: mark.line(), column: mark.col() + 1 }
}

fn too_large() -> String {
    format!(
        "the file holds more than {MAX_NODES} values, those that aliases repeat included: split it, or write fewer aliases"
    )
}
