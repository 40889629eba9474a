//! The documents, and what kubectl says of each.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock},
    thread,
};

use routemq_tests::{ControlPlane, folder};

/// kubectl processes at a time.
const AT_ONCE: usize = 3;
/// The namespaces that documents name: a dry run needs them, too.
const NAMESPACES: [&str; 1] = ["fleet"];

/// What kubectl printed of a document (of one that it refuses: only why), line by line, without the folder's name.
pub(crate) type Answer = Vec<String>;

/// Of every document, by `refused/NAME` or `accepted/NAME`; each is asked once a process.
pub(crate) fn answers() -> &'static BTreeMap<String, Answer> {
    static ANSWERS: OnceLock<BTreeMap<String, Answer>> = OnceLock::new();
    ANSWERS.get_or_init(ask_all)
}

/// Whether a document goes in as it stands. One of them has an object of a foreign kind, which is none of our business.
pub(crate) fn admitted(answer: &Answer) -> bool {
    let foreign = |line: &str| line.contains(": Deployment in version ");
    answer.iter().all(|line| line.ends_with("(server dry run)") || foreign(line))
}

/// Where the documents are.
pub(crate) fn corpus() -> PathBuf {
    folder("crds/tests")
}

fn ask_all() -> BTreeMap<String, Answer> {
    let plane = ControlPlane::shared();
    for namespace in NAMESPACES {
        plane.kubectl(&["create", "namespace", namespace]).unwrap();
    }
    let waiting = Mutex::new(names());
    let answers = Mutex::new(BTreeMap::new());
    let next = || waiting.lock().unwrap().pop();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(name) = next() {
                    let answer = ask(plane, &name);
                    answers.lock().unwrap().insert(name, answer);
                }
            });
        }
    });
    answers.into_inner().unwrap()
}

fn names() -> Vec<String> {
    let of = |kind: &str| {
        let entries = fs::read_dir(corpus().join(kind)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.map(|name| format!("{kind}/{name}")).collect::<Vec<_>>()
    };
    ["refused", "accepted"].map(of).concat()
}

fn ask(plane: &ControlPlane, name: &str) -> Answer {
    let create = ["create", "--dry-run=server", "--validate=strict", "--filename"];
    let file = corpus().join(name);
    let (Ok(said) | Err(said)) = plane.kubectl(&[&create[..], &[&file.to_string_lossy()]].concat());
    without_folder(&said, &file)
}

fn without_folder(said: &str, file: &Path) -> Answer {
    let folder = format!("{}/", file.parent().unwrap().display());
    let lines = said.lines().map(|line| line.replace(&folder, "").trim().to_owned());
    in_order(lines.filter(|line| !line.is_empty()).collect())
}

/// An API server tells several problems in whatever order it meets them, which is another each time.
fn in_order(mut answer: Answer) -> Answer {
    answer.sort_by_key(|line| line.starts_with("* ").then(|| line.clone()));
    answer
}
