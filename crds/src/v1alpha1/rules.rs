//! Every CEL rule of the schema, in one place: what an API server refuses and in which words.

use serde_json::{Value, json};

/// One entry of `x-kubernetes-validations`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// The CEL expression over `self`.
    pub(crate) text: &'static str,
    /// Names the fault and the fix; the API server puts the field's path before it.
    pub(crate) message: &'static str,
    /// The field below `self` that the problem is told of.
    pub(crate) field: Option<&'static str>,
    /// [`crate::compile`] refuses the same fault, more precisely: `check` leaves it the word.
    pub(crate) told_by_compile: bool,
}

impl Rule {
    const fn new(text: &'static str, message: &'static str) -> Self {
        Self { text, message, field: None, told_by_compile: false }
    }

    const fn at(self, field: &'static str) -> Self {
        Self { field: Some(field), ..self }
    }

    const fn told_by_compile(self) -> Self {
        Self { told_by_compile: true, ..self }
    }
}

/// The value of `x-kubernetes-validations`.
pub(super) fn of(rules: &[Rule]) -> Value {
    rules.iter().map(entry).collect()
}

fn entry(rule: &Rule) -> Value {
    let mut entry = json!({ "rule": rule.text, "message": rule.message });
    if let Some(field) = rule.field {
        entry["fieldPath"] = field.into();
    }
    entry
}

/// Whether `text` is a rule whose fault the compiler tells more precisely.
pub(crate) fn is_told_by_compile(text: &str) -> bool {
    ALL.iter().any(|rule| rule.text == text && rule.told_by_compile)
}

pub(crate) const SHARED: Rule = Rule::new(
    "self.shared || self.workerCount <= 1",
    "must be 0 or 1 while shared is false, because each worker would get every message: set workerCount: 1 or shared: true",
)
.at(".workerCount");

pub(crate) const PARENTS: Rule = Rule::new(
    "!has(self.groups) || self.groups.all(g, !has(g.parent) || self.groups.exists(p, p.name == g.parent))",
    "the parent of each group must be the name of another group: correct the parent, or add that group",
)
.at(".groups")
.told_by_compile();

pub(crate) const GROUPS: Rule = Rule::new(
    "self.routes.all(r, !has(r.group) || (has(self.groups) && self.groups.exists(g, g.name == r.group)))",
    "the group of each route must be the name of a group in spec.groups: correct the route's group, or add that group",
)
.at(".routes")
.told_by_compile();

pub(crate) const SHARE_NAME: Rule = Rule::new(
    r"self.matches('^[^/+#\\x00-\\x1f]+$')",
    "must not hold a slash, a plus sign, a hash or a control character (MQTT 5, 4.8.2): take dots or dashes, as in fleet.devices",
);

pub(crate) const OWN_PARENT: Rule = Rule::new(
    "!has(self.parent) || self.parent != self.name",
    "a group cannot be its own parent: name the enclosing group, or leave parent out",
)
.at(".parent")
.told_by_compile();

pub(crate) const NAME: Rule = Rule::new(
    "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",
    "must be lower case letters, digits and dashes, and start and end with a letter or digit, as in device-status",
);

pub(crate) const OBJECT_NAME: Rule = Rule::new(
    "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$')",
    "must be an object's name: lower case letters, digits, dashes and dots, each part between dots starting and ending with a letter or digit",
);

pub(crate) const DATA_KEY: Rule = Rule::new(
    "self.matches('^[A-Za-z0-9._-]+$')",
    "must be a key of a Secret or ConfigMap: letters, digits, dashes, underscores and dots",
);

pub(crate) const IDENTIFIER: Rule = Rule::new(
    "self.matches('^[A-Za-z_][A-Za-z0-9_]*$')",
    "must be an identifier: letters, digits and underscores, not starting with a digit",
);

pub(crate) const TABLE: Rule = Rule::new(
    "self.matches('^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)?$')",
    "must be a table's name, or schema.table: letters, digits and underscores, not starting with a digit",
);

/// A level is literal, `+` or `{name}`, `{name:int}`, `{name:float}`, `{name:uuid}`; the last may also be `#` or `{name...}`.
pub(crate) const TOPIC: Rule = Rule::new(
    r"self.matches('^(([^/+#{}\\x00]*|[+]|[{][A-Za-z_][A-Za-z0-9_]*(:(int|float|uuid))?[}])/)*([^/+#{}\\x00]*|[+#]|[{][A-Za-z_][A-Za-z0-9_]*(:(int|float|uuid)|[.]{3})?[}])$')",
    "must be levels between slashes, each a literal, +, {name} or {name:int|float|uuid} as a whole level, and only the last # or {name...}",
)
.told_by_compile();

pub(crate) const PREFIX: Rule = Rule::new(
    r"self.matches('^([^/+#{}\\x00]*|[+]|[{][A-Za-z_][A-Za-z0-9_]*(:(int|float|uuid))?[}])(/([^/+#{}\\x00]*|[+]|[{][A-Za-z_][A-Za-z0-9_]*(:(int|float|uuid))?[}]))*$')",
    "must be levels between slashes, each a literal, +, {name} or {name:int|float|uuid} as a whole level; # and {name...} belong at the end of a route's topic",
)
.told_by_compile();

pub(crate) const PUBLISH_TOPIC: Rule = Rule::new(
    r"self.matches('^[^+#{}\\x00]*([{][A-Za-z_][A-Za-z0-9_]*[}][^+#{}\\x00]*)*$')",
    "must be a topic to publish to: no + or #, and braces only as {name} of a param",
)
.told_by_compile();

/// Labels and annotations of pods that the operator sets itself.
pub(crate) const RESERVED: Rule = Rule::new(
    "self.all(key, !key.startsWith('routemq.io/'))",
    "must not hold keys that start with routemq.io/, which the operator sets itself: take a prefix of your own",
);

pub(crate) const ONE_MIDDLEWARE: Rule = Rule::new(
    "(has(self.log) ? 1 : 0) + (has(self.apiKey) ? 1 : 0) + (has(self.rateLimit) ? 1 : 0) + (has(self.filter) ? 1 : 0) + (has(self.validate) ? 1 : 0) + (has(self.transform) ? 1 : 0) + (has(self.dedup) ? 1 : 0) + (has(self.timeout) ? 1 : 0) + (has(self.custom) ? 1 : 0) == 1",
    "must have exactly one of log, apiKey, rateLimit, filter, validate, transform, dedup, timeout and custom: write one list entry for each step",
);

pub(crate) const ONE_HANDLER: Rule = Rule::new(
    "(has(self.log) ? 1 : 0) + (has(self.publish) ? 1 : 0) + (has(self.reply) ? 1 : 0) + (has(self.sql) ? 1 : 0) + (has(self.http) ? 1 : 0) + (has(self.custom) ? 1 : 0) == 1",
    "must have exactly one of log, publish, reply, sql, http and custom (beside when and as): write one list entry for each handler",
);

pub(crate) const KEY_SOURCE: Rule = Rule::new(
    "has(self.field) != has(self.userProperty)",
    "must have exactly one of field (a payload field) and userProperty (an MQTT 5 user property): say where the key is",
);

pub(crate) const SCHEMA_SOURCE: Rule = Rule::new(
    "has(self.schema) != has(self.configMapRef)",
    "must have exactly one of schema (inline) and configMapRef: say where the JSON Schema is",
);

pub(crate) const TRANSFORM: Rule = Rule::new(
    "has(self.set) || has(self.remove)",
    "must have set, remove or both: a transform without them does nothing",
);

pub(crate) const SQL_FORM: Rule = Rule::new(
    "has(self.table) != has(self.statement)",
    "must have exactly one of table (with columns) and statement (with binds): say by one of them what is written",
);

pub(crate) const SQL_COLUMNS: Rule = Rule::new(
    "has(self.table) == has(self.columns)",
    "must have table and columns together: table says where the row goes, columns what is in it",
);

pub(crate) const SQL_STATEMENT: Rule = Rule::new(
    "!has(self.statement) || (!has(self.onConflict) && !has(self.key))",
    "must not have onConflict or key beside statement: say it in the statement itself",
);

pub(crate) const SQL_BINDS: Rule = Rule::new(
    "!has(self.binds) || has(self.statement)",
    "must not have binds without statement: the values of table are its columns",
);

pub(crate) const SQL_KEY: Rule = Rule::new(
    "!has(self.onConflict) || self.onConflict == 'Error' || has(self.key) || has(self.statement)",
    "must have key where onConflict is Ignore or Update: list the columns of the unique key",
);

/// A rule of the object, not of the field: an API server repeats a field's value, which may hold a password.
pub(crate) const BROKER_URL: Rule = Rule::new(
    "!has(self.url) || self.url.matches('^(mqtt|mqtts|ws|wss)://[^/?#@ ]+([/?][^@ ]*)?$')",
    "must be mqtt://, mqtts://, ws:// or wss:// and a host, as in mqtts://broker:8883; user and password belong in credentialsSecretRef",
)
.at(".url");

pub(crate) const BROKER_TLS: Rule = Rule::new(
    "!has(self.tls) || !has(self.url) || self.url.startsWith('mqtts://') || self.url.startsWith('wss://')",
    "must not stand beside an unencrypted url: write mqtts:// or wss://, or leave tls out",
)
.at(".tls");

/// Of the object, as [`BROKER_URL`].
pub(crate) const HTTP_URL: Rule = Rule::new(
    "self.url.matches('^https?://[^/?#@{} ]+([/?][^ #]*)?$')",
    "must be http:// or https:// and a host, as in https://api.example.com/devices/{id}; {param} may stand after the host only, user and password nowhere",
)
.at(".url");

/// Every rule above.
pub(crate) const ALL: &[Rule] = &[
    SHARED,
    PARENTS,
    GROUPS,
    SHARE_NAME,
    RESERVED,
    OWN_PARENT,
    NAME,
    OBJECT_NAME,
    DATA_KEY,
    IDENTIFIER,
    TABLE,
    TOPIC,
    PREFIX,
    PUBLISH_TOPIC,
    ONE_MIDDLEWARE,
    ONE_HANDLER,
    KEY_SOURCE,
    SCHEMA_SOURCE,
    TRANSFORM,
    SQL_FORM,
    SQL_COLUMNS,
    SQL_STATEMENT,
    SQL_BINDS,
    SQL_KEY,
    BROKER_URL,
    BROKER_TLS,
    HTTP_URL,
];
