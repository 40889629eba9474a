//! From content to documents: what each is, whether it is sound, and the typed object.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::{
    DocumentProblem, Documents, Located, Position, kind,
    kind::{Kind, Verdict},
    problem, read,
    read::Fault,
    schemas::Schemas,
    tree::{Node, Value},
    walk::Walker,
};

/// The namespace of objects that name none.
const DEFAULT_NAMESPACE: &str = "default";

/// Documents being read, file after file.
#[derive(Default)]
pub(super) struct Reading {
    documents: Documents,
    problems: Vec<DocumentProblem>,
    walker: Walker,
    schemas: Schemas,
    /// Where each object stands: kind, namespace, name.
    seen: HashMap<(Kind, String, String), (PathBuf, usize)>,
}

/// A document's tree and where its paths start (`items[3].` in a `List`).
struct Document<'f> {
    file: &'f Path,
    tree: Node,
    prefix: String,
    /// What its text has wrong; told unless the document is none of ours.
    faults: Vec<Fault>,
}

impl Reading {
    pub(super) fn add(&mut self, file: &Path, content: &[u8]) {
        if self.documents.files.iter().any(|seen| seen == file) {
            return;
        }
        self.documents.files.push(file.to_owned());
        let text = match std::str::from_utf8(content) {
            Ok(text) => text,
            Err(error) => return self.refuse(not_text(file, content, error.valid_up_to())),
        };
        let (documents, faults) = read::documents(text);
        for fault in faults {
            self.refuse(problem_of(file, "", fault));
        }
        for read::Read { tree, faults } in documents {
            self.document(Document { file, tree, prefix: String::new(), faults });
        }
    }

    pub(super) fn refuse(&mut self, problem: DocumentProblem) {
        self.problems.push(problem);
    }

    pub(super) fn finish(self) -> (Documents, Vec<DocumentProblem>) {
        (self.documents, problem::in_order(self.problems))
    }

    fn document(&mut self, document: Document<'_>) {
        match &document.tree.value {
            Value::Null | Value::Refused => {}
            Value::Map(_) => self.object(document),
            _ => {
                let message = "is not an object: start with apiVersion: and kind:";
                self.fault(&document, document.tree.at, "", message);
            }
        }
    }

    fn object(&mut self, document: Document<'_>) {
        match kind::of(&document.tree) {
            Verdict::Read(kind) => self.read(kind, document),
            Verdict::Open => self.open(document),
            Verdict::Skip(what) => self.skip(&document, &what),
            Verdict::Refuse(field, message) => {
                self.fault(&document, document.tree.locate(field), field, &message);
            }
        }
    }

    fn open(&mut self, document: Document<'_>) {
        let Document { file, tree, prefix, faults } = document;
        for fault in faults {
            self.refuse(problem_of(file, &prefix, fault));
        }
        let Value::Map(entries) = tree.value else { return };
        let items = entries.into_iter().find(|entry| entry.key == "items").map(|e| e.node.value);
        let Some(Value::List(items)) = items else { return };
        for (index, tree) in items.into_iter().enumerate() {
            let prefix = format!("{prefix}items[{index}].");
            self.document(Document { file, tree, prefix, faults: Vec::new() });
        }
    }

    fn skip(&mut self, document: &Document<'_>, what: &str) {
        let (file, line) = (document.file.display(), document.tree.at.line);
        self.documents
            .notes
            .push(format!("{file}:{line}: skipped {what}, which routemq does not read"));
    }

    fn read(&mut self, kind: Kind, mut document: Document<'_>) {
        let (json, found) = self.walker.judge(self.schemas.of(kind), &document.tree);
        let mut faults = std::mem::take(&mut document.faults);
        faults.extend(found);
        if kind == Kind::Secret {
            faults.extend(not_base64(&document.tree, "data"));
        }
        faults.extend(self.taken(kind, &document, &json));
        if faults.is_empty() {
            return self.keep(kind, document, json);
        }
        for fault in faults {
            self.refuse(problem_of(document.file, &document.prefix, fault));
        }
    }

    /// Two objects of one name: the second would replace the first.
    fn taken(&mut self, kind: Kind, document: &Document<'_>, json: &Json) -> Option<Fault> {
        let name = json["metadata"]["name"].as_str()?.to_owned();
        let namespace =
            json["metadata"]["namespace"].as_str().unwrap_or(DEFAULT_NAMESPACE).to_owned();
        let message = |file: &Path, line| {
            format!(
                "{kind:?} {namespace}/{name} is already in {}:{line}: rename or remove one of the two",
                file.display()
            )
        };
        let key = (kind, namespace.clone(), name.clone());
        if let Some((file, line)) = self.seen.get(&key) {
            let field = "metadata.name".to_owned();
            return Some(Fault {
                at: document.tree.locate(&field),
                field,
                message: message(file, *line),
            });
        }
        self.seen.insert(key, (document.file.to_owned(), document.tree.at.line));
        None
    }

    fn keep(&mut self, kind: Kind, document: Document<'_>, mut json: Json) {
        if json["metadata"].get("namespace").is_none() {
            json["metadata"]["namespace"] = DEFAULT_NAMESPACE.into();
        }
        match kind {
            Kind::MqttRoute => {
                if let Some(located) = self.typed(document, json) {
                    self.documents.routes.push(located);
                }
            }
            Kind::Secret => {
                if let Some(mut located) = self.typed(document, json) {
                    merge_string_data(&mut located.object);
                    self.documents.secrets.push(located);
                }
            }
            Kind::ConfigMap => {
                if let Some(located) = self.typed::<ConfigMap>(document, json) {
                    self.documents.config_maps.push(located);
                }
            }
        }
    }

    fn typed<T: DeserializeOwned>(
        &mut self,
        document: Document<'_>,
        json: Json,
    ) -> Option<Located<T>> {
        match serde_json::from_value(json) {
            Ok(object) => {
                let Document { file, tree, prefix, .. } = document;
                let (file, line) = (file.to_owned(), tree.at.line);
                Some(Located { object, file, line, tree: Arc::new(tree), prefix })
            }
            Err(error) => {
                self.fault(&document, document.tree.at, "", &format!("cannot be read: {error}"));
                None
            }
        }
    }

    fn fault(&mut self, document: &Document<'_>, at: Position, field: &str, message: &str) {
        let fault = Fault { at, field: field.to_owned(), message: message.to_owned() };
        self.refuse(problem_of(document.file, &document.prefix, fault));
    }
}

fn problem_of(file: &Path, prefix: &str, fault: Fault) -> DocumentProblem {
    let Fault { at, field, message } = fault;
    DocumentProblem {
        file: file.to_owned(),
        position: Some(at),
        field: format!("{prefix}{field}"),
        message,
    }
}

fn not_text(file: &Path, content: &[u8], valid: usize) -> DocumentProblem {
    let before = String::from_utf8_lossy(&content[..valid]);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    DocumentProblem {
        position: Some(Position { line, column }),
        ..DocumentProblem::of_file(file, "is not UTF-8 text: save the file as UTF-8")
    }
}

fn not_base64(tree: &Node, field: &str) -> Vec<Fault> {
    let Some(Value::Map(entries)) = tree.entry(field).map(|entry| &entry.node.value) else {
        return Vec::new();
    };
    let broken = entries.iter().filter(|entry| match &entry.node.value {
        Value::Text(text) => serde_json::from_value::<ByteString>(text.as_str().into()).is_err(),
        _ => false,
    });
    let fault = |entry: &super::tree::Entry| Fault {
        at: entry.position(),
        field: format!("{field}[{}]", entry.key),
        message: "is not base64: write plain text below stringData instead".to_owned(),
    };
    broken.map(fault).collect()
}

/// As an API server does: readers look only at `data`.
fn merge_string_data(secret: &mut Secret) {
    let plain = secret.string_data.take().unwrap_or_default();
    let data = secret.data.get_or_insert_default();
    data.extend(plain.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
}
