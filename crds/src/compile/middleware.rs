//! Steps before the handlers: groups' outer to inner, then the route's own.

use serde_json::Value;

use super::{
    field::{Problems, property_fault},
    groups::Groups,
    routes::Context,
};
use crate::{
    expression::{Expression, Scope},
    table::{KeySource, Middleware, SchemaSource},
    v1alpha1::{self, ApiKey, Dedup, DedupStore, RateLimit, RateLimitAction, Transform, Validate},
};

const MAX_ENTRIES: usize = 16;

/// Those of a route's groups.
pub(super) fn of_groups(
    context: &Context<'_>,
    route: &v1alpha1::Route,
    groups: &Groups<'_>,
    problems: &mut Problems,
) -> Vec<Middleware> {
    let chain = route.group.as_deref().and_then(|name| groups.chain(name)).unwrap_or_default();
    let mut compiled = Vec::new();
    for index in chain {
        let path = format!("spec.groups[{index}].middleware");
        list(context, &path, &groups.get(index).middleware, &mut compiled, problems);
    }
    compiled
}

/// Those of the route itself, behind the others.
pub(super) fn own(
    context: &Context<'_>,
    route: &v1alpha1::Route,
    compiled: &mut Vec<Middleware>,
    problems: &mut Problems,
) {
    if !route.middleware.is_empty() {
        let path = format!("{}.middleware", context.path);
        list(context, &path, &route.middleware, compiled, problems);
    }
}

fn list(
    context: &Context<'_>,
    path: &str,
    entries: &[v1alpha1::Middleware],
    compiled: &mut Vec<Middleware>,
    problems: &mut Problems,
) {
    if entries.len() > MAX_ENTRIES {
        let count = entries.len();
        problems.add(path, format!("has {count} entries; at most {MAX_ENTRIES} are allowed"));
    }
    for (index, entry) in entries.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let step = Step { context, is_shared: !path.starts_with(&context.path), path, problems };
        compiled.extend(step.compile(entry));
    }
}

struct Step<'a, 'p> {
    context: &'a Context<'a>,
    /// A group's: what is wrong for one route may be right for the next.
    is_shared: bool,
    path: String,
    problems: &'p mut Problems,
}

impl Step<'_, '_> {
    fn compile(mut self, entry: &v1alpha1::Middleware) -> Option<Middleware> {
        if !self.has_one_key(entry) {
            return None;
        }
        // Exactly one of these is there.
        None.or_else(|| {
            entry.log.as_ref().map(|log| Middleware::Log {
                level: log.level.unwrap_or_default(),
                payload: log.payload.unwrap_or(false),
            })
        })
        .or_else(|| entry.api_key.as_ref().and_then(|given| self.api_key(given)))
        .or_else(|| entry.rate_limit.as_ref().map(|given| self.rate_limit(given)))
        .or_else(|| entry.filter.as_ref().and_then(|given| self.filter(given)))
        .or_else(|| entry.validate.as_ref().and_then(|given| self.validate(given)))
        .or_else(|| entry.transform.as_ref().map(|given| self.transform(given)))
        .or_else(|| entry.dedup.as_ref().and_then(|given| self.dedup(given)))
        .or_else(|| entry.timeout.as_ref().map(|given| self.timeout(given)))
        .or_else(|| entry.custom.as_ref().map(|given| self.custom(given)))
    }

    fn field(&self, field: &str) -> String {
        format!("{}.{field}", self.path)
    }

    fn expression(&mut self, field: &str, source: &str) -> Option<Expression> {
        let field = self.field(field);
        let scope = self.context.scope();
        let compiled = self.problems.expression(&field, source, &scope);
        let of_any_params = Scope { params: None, ..scope };
        if self.is_shared
            && compiled.is_none()
            && Expression::compile(source, &of_any_params).is_ok()
        {
            self.problems.concerns_route(self.context.name);
        }
        compiled
    }

    fn has_one_key(&mut self, entry: &v1alpha1::Middleware) -> bool {
        let keys = [
            entry.log.is_some(),
            entry.api_key.is_some(),
            entry.rate_limit.is_some(),
            entry.filter.is_some(),
            entry.validate.is_some(),
            entry.transform.is_some(),
            entry.dedup.is_some(),
            entry.timeout.is_some(),
            entry.custom.is_some(),
        ];
        let count = keys.iter().filter(|given| **given).count();
        if count != 1 {
            self.problems.add(
                &self.path,
                format!("has {count} of log, apiKey, rateLimit, filter, validate, transform, dedup, timeout and custom; write exactly one, and a list entry for each step"),
            );
        }
        count == 1
    }

    fn api_key(&mut self, given: &ApiKey) -> Option<Middleware> {
        let source = match (&given.field, &given.user_property) {
            (Some(field), None) => {
                let path: Vec<String> = field.split('.').map(str::to_owned).collect();
                if path.iter().any(String::is_empty) {
                    let fault = format!(
                        "\"{field}\" has an empty part; write a dotted path such as auth.key"
                    );
                    self.problems.add(self.field("apiKey.field"), fault);
                }
                KeySource::Field(path)
            }
            (None, Some(name)) => {
                if let Some(fault) = property_fault(name) {
                    self.problems.add(self.field("apiKey.userProperty"), fault);
                }
                KeySource::UserProperty(name.clone())
            }
            (field, _) => {
                let count = if field.is_some() { "both" } else { "neither" };
                self.problems.add(
                    self.field("apiKey"),
                    format!(
                        "has {count} of field and userProperty; say by exactly one where the key is"
                    ),
                );
                return None;
            }
        };
        Some(Middleware::ApiKey { keys: given.secret_ref.clone(), source })
    }

    fn rate_limit(&mut self, given: &RateLimit) -> Middleware {
        let action = given.action.unwrap_or_default();
        if action == RateLimitAction::DeadLetter && self.context.delivery.dead_letter.is_none() {
            self.problems.add(
                self.field("rateLimit.action"),
                "is DeadLetter, but spec.delivery.deadLetter is missing; add it or take Drop",
            );
        }
        let limit = self.problems.number(
            self.field("rateLimit.limit"),
            Some(given.limit),
            1,
            1..=1_000_000,
        );
        Middleware::RateLimit {
            limit,
            per: self.problems.seconds(
                &self.field("rateLimit.perSeconds"),
                Some(given.per_seconds),
                1,
                1..=86_400,
            ),
            burst: self.problems.number(
                self.field("rateLimit.burst"),
                given.burst,
                limit,
                1..=1_000_000,
            ),
            key: given.key.as_ref().and_then(|source| self.expression("rateLimit.key", source)),
            action,
            scope: given.scope.unwrap_or_default(),
        }
    }

    fn filter(&mut self, given: &v1alpha1::Filter) -> Option<Middleware> {
        self.expression("filter.expression", &given.expression).map(Middleware::Filter)
    }

    fn validate(&mut self, given: &Validate) -> Option<Middleware> {
        let source = match (&given.schema, &given.config_map_ref) {
            (Some(schema), None) => {
                let schema = Value::Object(schema.clone().into_iter().collect());
                if let Err(error) = jsonschema::validator_for(&schema) {
                    self.problems.add(
                        self.field("validate.schema"),
                        format!(
                            "is no JSON Schema at \"{}\": {error}; write what JSON Schema allows there, such as {{type: object}}",
                            error.instance_path()
                        ),
                    );
                }
                SchemaSource::Inline(schema)
            }
            (None, Some(reference)) => SchemaSource::ConfigMap(reference.clone()),
            (schema, _) => {
                let count = if schema.is_some() { "both" } else { "neither" };
                self.problems.add(
                    self.field("validate"),
                    format!("has {count} of schema and configMapRef; say by exactly one where the JSON Schema is"),
                );
                return None;
            }
        };
        Some(Middleware::Validate(source))
    }

    fn transform(&mut self, given: &Transform) -> Middleware {
        if given.set.is_empty() && given.remove.is_empty() {
            self.problems.add(
                self.field("transform"),
                "sets and removes nothing; write set, remove or both",
            );
        }
        let field = self.field("transform.set");
        let empty = |name: &str| {
            name.split('.')
                .any(str::is_empty)
                .then(|| format!("\"{name}\" has an empty part; name a payload field"))
        };
        let set = self.problems.expressions(&field, &given.set, &self.context.scope(), empty);
        for (index, name) in given.remove.iter().enumerate() {
            if let Some(fault) = empty(name) {
                self.problems.add(self.field(&format!("transform.remove[{index}]")), fault);
            }
        }
        Middleware::Transform { set, remove: given.remove.clone() }
    }

    fn dedup(&mut self, given: &Dedup) -> Option<Middleware> {
        if given.store == Some(DedupStore::Database) {
            self.problems.add(
                self.field("dedup.store"),
                "\"Database\" is nothing that workers can do yet; write Memory, or give the sql handler a key and onConflict: Ignore",
            );
        }
        let window = self.problems.seconds(
            &self.field("dedup.windowSeconds"),
            given.window_seconds,
            300,
            1..=86_400,
        );
        let key = self.expression("dedup.key", &given.key)?;
        Some(Middleware::Dedup { key, window, store: given.store.unwrap_or_default() })
    }

    fn timeout(&mut self, given: &v1alpha1::Timeout) -> Middleware {
        let field = self.field("timeout.seconds");
        Middleware::Timeout(self.problems.seconds(&field, Some(given.seconds), 1, 1..=3600))
    }

    fn custom(&mut self, given: &v1alpha1::CustomMiddleware) -> Middleware {
        let field = self.field("custom.name");
        self.problems.registered(&field, &given.name);
        Middleware::Custom {
            name: given.name.clone(),
            config: given.config.clone().unwrap_or_default(),
        }
    }
}
