//! The API server's own record: who asked for what, and what it was refused.

use std::fs;

use serde_json::Value;

use crate::ControlPlane;

/// A request of a service account, as the API server recorded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
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
}

impl Request {
    fn parse(line: &str) -> Self {
        let entry: Value = serde_json::from_str(line).expect("the API server writes JSON");
        let text = |path: &str| entry.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let subresource = text("/objectRef/subresource");
        let slash = if subresource.is_empty() { "" } else { "/" };
        Self {
            verb: text("/verb").to_owned(),
            group: text("/objectRef/apiGroup").to_owned(),
            resource: format!("{}{slash}{subresource}", text("/objectRef/resource")),
            namespace: text("/objectRef/namespace").to_owned(),
            name: text("/objectRef/name").to_owned(),
            created: entry.pointer("/responseStatus/code").and_then(Value::as_u64) == Some(201),
            refused: text("/annotations/authorization.k8s.io~1decision") == "forbid",
        }
    }
}

impl ControlPlane {
    /// Every request of a service account so far; `None` on a cluster whose record is not ours to read.
    pub fn requests_of(&self, namespace: &str, account: &str) -> Option<Vec<Request>> {
        let log = self.audit_log()?;
        let log = fs::read_to_string(&log).unwrap_or_else(|error| {
            panic!("{}: without it nothing is shown: {error}", log.display())
        });
        let user = format!("\"username\":\"system:serviceaccount:{namespace}:{account}\"");
        // The last line may be half written.
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let ours = whole.lines().filter(|line| line.contains(&user));
        let requests: Vec<_> =
            ours.map(Request::parse).filter(|it| !it.resource.is_empty()).collect();
        Some(requests)
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
