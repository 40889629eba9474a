//! The API server's own record: who asked for what, and what it was refused.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
};

use serde_json::Value;

use crate::ControlPlane;

/// An answered request, as the API server recorded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whose it was, such as `system:serviceaccount:routemq:routemq-operator`.
    pub user: String,
    /// As RBAC names it: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` …
    pub verb: String,
    /// Of the resource; empty for the core's.
    pub group: String,
    /// With its subresource, as in `mqttroutes/status`.
    pub resource: String,
    /// Empty where the request is for all namespaces.
    pub namespace: String,
    /// Empty where the request is for all objects, or for a new one.
    pub name: String,
    /// Whether it made an object: a server-side apply is a `patch` that asks for the right to `create` as well, where there is none yet.
    pub created: bool,
    /// Whether it was refused for want of a right; what an admission plugin refused was not.
    pub refused: bool,
    /// When it arrived, in UTC as RFC 3339 with microseconds: compares as text.
    pub received: String,
}

impl Request {
    fn parse(line: &str) -> Self {
        let entry: Value = serde_json::from_str(line).expect("the API server writes JSON");
        let text = |path: &str| entry.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let subresource = text("/objectRef/subresource");
        let slash = if subresource.is_empty() { "" } else { "/" };
        Self {
            user: text("/user/username").to_owned(),
            verb: text("/verb").to_owned(),
            group: text("/objectRef/apiGroup").to_owned(),
            resource: format!("{}{slash}{subresource}", text("/objectRef/resource")),
            namespace: text("/objectRef/namespace").to_owned(),
            name: text("/objectRef/name").to_owned(),
            created: entry.pointer("/responseStatus/code").and_then(Value::as_u64) == Some(201),
            refused: text("/annotations/authorization.k8s.io~1decision") == "forbid",
            received: text("/requestReceivedTimestamp").to_owned(),
        }
    }

    /// Whether it asks for a change.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// The record, from a moment on.
#[derive(Clone, Debug)]
pub struct Audit {
    path: PathBuf,
    from: u64,
}

impl Audit {
    /// Only what is answered from now on.
    #[must_use]
    pub fn from_now(mut self) -> Self {
        self.from = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        self
    }

    /// Every request answered so far, in the order of the answers.
    pub fn requests(&self) -> Vec<Request> {
        let mut text = String::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.from))?;
            file.read_to_string(&mut text)
        });
        read.unwrap_or_else(|error| {
            panic!("{}: without it nothing is shown: {error}", self.path.display())
        });
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(Request::parse).filter(|it| !it.resource.is_empty()).collect()
    }

    /// Requests by a user.
    pub fn requests_of(&self, user: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.user == user).collect()
    }

    /// Requests for a change by a user.
    pub fn writes_of(&self, user: &str) -> Vec<Request> {
        self.requests_of(user).into_iter().filter(Request::is_write).collect()
    }
}

impl ControlPlane {
    /// Every request of a service account so far; `None` on a cluster whose record is not ours to read.
    pub fn requests_of(&self, namespace: &str, account: &str) -> Option<Vec<Request>> {
        let user = format!("system:serviceaccount:{namespace}:{account}");
        Some(self.audit()?.requests_of(&user))
    }

    /// What the API server was asked, by its own record; `None` on a cluster whose record is not ours to read.
    pub fn audit(&self) -> Option<Audit> {
        self.audit_log().map(|path| Audit { path, from: 0 })
    }

    /// Fails where a service account was refused anything; says so where that cannot be known.
    pub fn assert_refused_nothing(&self, namespace: &str, account: &str) {
        let Some(requests) = self.requests_of(namespace, account) else {
            eprintln!(
                "skipped: what {namespace}:{account} was refused, because the audit log of this cluster is not ours to read"
            );
            return;
        };
        let refused: Vec<_> = requests.iter().filter(|request| request.refused).collect();
        assert!(refused.is_empty(), "{namespace}:{account} was refused: {refused:#?}");
        assert!(
            !requests.is_empty(),
            "{namespace}:{account} asked for nothing: is it the right one?"
        );
    }
}
