//! The CEL rules of the schema, run here as an API server runs them.

use std::collections::HashMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;
use serde_json::Value;

/// Rules, compiled when first met. `None`: not CEL (which a test of this crate forbids).
#[derive(Default)]
pub(super) struct Rules {
    programs: HashMap<String, Option<cel::Program>>,
    base: cel::Context<'static, 'static>,
}

impl Rules {
    /// Why `rule` refuses `this`, in the rule's words; `None`: it holds.
    pub(super) fn refusal(&mut self, rule: &ValidationRule, this: &Value) -> Option<String> {
        if matches!(self.run(&rule.rule, this), Some(cel::Value::Bool(true))) {
            return None;
        }
        rule.message.clone().or_else(|| Some(format!("must hold: {}", rule.rule)))
    }

    fn run(&mut self, text: &str, this: &Value) -> Option<cel::Value> {
        let program = self
            .programs
            .entry(text.to_owned())
            .or_insert_with(|| cel::Program::compile(text).ok())
            .as_ref()?;
        let mut scope = self.base.new_inner_scope();
        scope.add_variable_from_value("self", value(this));
        program.execute(&scope).ok()
    }
}

/// Kubernetes' CEL has no unsigned integers: each whole number is an `int`.
fn value(json: &Value) -> cel::Value {
    match json {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => cel::Value::Int(whole),
            None => cel::Value::Float(number.as_f64().unwrap_or(f64::MAX)),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(value).collect::<Vec<_>>().into(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, field)| (name.as_str(), value(field)));
            fields.collect::<HashMap<_, _>>().into()
        }
    }
}

#[cfg(test)]
mod tests;
