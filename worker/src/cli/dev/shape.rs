//! What a payload has to look like, read from what a route's expressions mention.

use std::collections::BTreeMap;

use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, operators};
use routemq_crds::{
    expression::Expression,
    table::{Action, Handler, KeySource, Middleware, Route, SchemaSource},
};
use serde_json::{Value, json};

/// A payload, or a field of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shape {
    pub(super) fields: BTreeMap<String, Shape>,
    /// Values that an expression compares it with, or looks for.
    pub(super) literals: Vec<Value>,
    /// What a text begins with.
    pub(super) kind: Kind,
}

/// What an expression does with a field tells what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Unknown,
    Number,
    Text,
    Bool,
    List,
}

/// The shape that all expressions of a route agree on.
pub(super) fn of(route: &Route) -> Shape {
    let mut shape = Shape::default();
    for step in route.middleware.iter() {
        of_step(step, &mut shape);
    }
    for handler in &route.handlers {
        of_handler(handler, &mut shape);
    }
    shape
}

fn of_step(step: &Middleware, shape: &mut Shape) {
    match step {
        Middleware::Filter(expression) | Middleware::Dedup { key: expression, .. } => {
            shape.learn(expression);
        }
        Middleware::RateLimit { key: Some(key), .. } => shape.learn(key),
        Middleware::Transform { set, .. } => set.iter().for_each(|(_, value)| shape.learn(value)),
        Middleware::ApiKey { source: KeySource::Field(path), .. } => {
            shape.at(path.iter().map(String::as_str)).kind = Kind::Text;
        }
        Middleware::Validate(SchemaSource::Inline(schema)) => shape.learn_schema(schema),
        _ => {}
    }
}

fn of_handler(handler: &Handler, shape: &mut Shape) {
    let named = |values: &[(String, Expression)], shape: &mut Shape| {
        for (_, value) in values {
            shape.learn(value);
        }
    };
    if let Some(when) = &handler.when {
        shape.learn(when);
    }
    match &handler.action {
        Action::Log { message: Some(message), .. } => shape.learn(message),
        Action::Publish(publish) => {
            shape.learn(&publish.payload);
            named(&publish.user_properties, shape);
        }
        Action::Reply { payload, user_properties, .. } => {
            shape.learn(payload);
            named(user_properties, shape);
        }
        Action::Insert(insert) => named(&insert.columns, shape),
        Action::Statement(statement) => named(&statement.binds, shape),
        Action::Http(http) => http.body.iter().for_each(|body| shape.learn(body)),
        _ => {}
    }
}

impl Shape {
    fn learn(&mut self, expression: &Expression) {
        self.visit(&expression.program().expression().expr);
    }

    fn at<'p>(&mut self, path: impl IntoIterator<Item = &'p str>) -> &mut Self {
        path.into_iter().fold(self, |shape, name| shape.fields.entry(name.to_owned()).or_default())
    }

    /// Notes every payload field of an expression, and what it is compared with.
    fn visit(&mut self, expr: &Expr) {
        if let Some(path) = path(expr) {
            self.at(path);
            return;
        }
        match expr {
            Expr::Call(call) => self.call(call),
            Expr::Select(select) => self.visit(&select.operand.expr),
            Expr::List(list) => list.elements.iter().for_each(|it| self.visit(&it.expr)),
            Expr::Map(map) => map.entries.iter().for_each(|it| self.entry(&it.expr)),
            Expr::Struct(it) => it.entries.iter().for_each(|it| self.entry(&it.expr)),
            Expr::Comprehension(it) => {
                if let Some(path) = path(&it.iter_range.expr) {
                    self.at(path).kind = Kind::List;
                }
                for part in [&it.iter_range, &it.loop_step, &it.result] {
                    self.visit(&part.expr);
                }
            }
            _ => {}
        }
    }

    fn entry(&mut self, entry: &EntryExpr) {
        match entry {
            EntryExpr::StructField(field) => self.visit(&field.value.expr),
            EntryExpr::MapEntry(entry) => {
                self.visit(&entry.key.expr);
                self.visit(&entry.value.expr);
            }
        }
    }

    fn call(&mut self, call: &CallExpr) {
        let parts: Vec<&Expr> = call
            .target
            .iter()
            .map(|it| &it.expr)
            .chain(call.args.iter().map(|it| &it.expr))
            .collect();
        for part in &parts {
            self.visit(part);
        }
        for part in &parts {
            if let Some(path) = path(part) {
                let others = parts.iter().filter(|other| !std::ptr::eq(**other, *part));
                let literals = others.flat_map(|other| literals(other)).collect();
                self.at(path).used_by(&call.func_name, literals);
            }
        }
    }

    fn used_by(&mut self, function: &str, literals: Vec<Value>) {
        match function {
            operators::EQUALS | operators::NOT_EQUALS | operators::IN => {
                self.literals.extend(literals);
            }
            operators::LESS
            | operators::LESS_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS => {
                self.kind = Kind::Number;
                self.literals.extend(literals);
            }
            operators::ADD if literals.iter().any(Value::is_string) => self.kind = Kind::Text,
            operators::ADD
            | operators::SUBSTRACT
            | operators::MULTIPLY
            | operators::DIVIDE
            | operators::NEGATE
            | "double"
            | "int" => self.kind = Kind::Number,
            "startsWith" | "endsWith" | "contains" => {
                self.kind = Kind::Text;
                self.literals.extend(literals);
            }
            "matches" | "timestamp" => self.kind = Kind::Text,
            operators::LOGICAL_NOT | operators::LOGICAL_AND | operators::LOGICAL_OR => {
                self.kind = Kind::Bool;
            }
            _ => {}
        }
    }

    /// `properties`, `type` and `enum` of a JSON Schema; enough for a payload that passes usual ones.
    fn learn_schema(&mut self, schema: &Value) {
        self.kind = match schema["type"].as_str() {
            Some("number" | "integer") => Kind::Number,
            Some("string") => Kind::Text,
            Some("boolean") => Kind::Bool,
            Some("array") => Kind::List,
            _ => self.kind,
        };
        self.literals.extend(schema["enum"].as_array().into_iter().flatten().cloned());
        for bound in ["minimum", "maximum"] {
            self.literals.extend(schema.get(bound).cloned());
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            self.at([name.as_str()]).learn_schema(field);
        }
    }
}

/// `payload.a.b` and `payload['a'].b` as `[a, b]`; also within `has(…)`.
fn path(expr: &Expr) -> Option<Vec<&str>> {
    match expr {
        Expr::Ident(name) if name == "payload" => Some(Vec::new()),
        Expr::Select(select) => {
            let mut path = path(&select.operand.expr)?;
            path.push(&select.field);
            Some(path)
        }
        Expr::Call(call) if call.func_name == operators::INDEX => {
            let (from, key) = (call.args.first()?, call.args.get(1)?);
            let Expr::Literal(LiteralValue::String(key)) = &key.expr else { return None };
            let mut path = path(&from.expr)?;
            path.push(key.inner());
            Some(path)
        }
        _ => None,
    }
}

/// The literal, or those of a list.
fn literals(expr: &Expr) -> Vec<Value> {
    match expr {
        Expr::Literal(LiteralValue::Boolean(value)) => vec![json!(value.inner())],
        Expr::Literal(LiteralValue::Int(value)) => vec![json!(value.inner())],
        Expr::Literal(LiteralValue::UInt(value)) => vec![json!(value.inner())],
        Expr::Literal(LiteralValue::Double(value)) => vec![json!(value.inner())],
        Expr::Literal(LiteralValue::String(value)) => vec![json!(value.inner())],
        Expr::List(list) => list.elements.iter().flat_map(|it| literals(&it.expr)).collect(),
        // `-50` is a call of minus.
        Expr::Call(call) if call.func_name == operators::NEGATE => {
            let inner = call.args.iter().flat_map(|it| literals(&it.expr));
            inner.filter_map(|value| Some(json!(-value.as_f64()?))).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use routemq_crds::expression::Scope;

    use super::*;

    fn shape(expressions: &[&str]) -> Shape {
        let mut shape = Shape::default();
        for source in expressions {
            shape.learn(&Expression::compile(source, &Scope::default()).unwrap());
        }
        shape
    }

    #[test]
    fn literals_of_a_list_are_what_the_field_may_be() {
        let shape = shape(&["payload.command in ['restart', 'shutdown']"]);
        assert_eq!(shape.fields["command"].literals, [json!("restart"), json!("shutdown")]);
    }

    #[test]
    fn a_comparison_makes_a_number() {
        let shape = shape(&["payload.value > -50 && payload.value < 100"]);
        assert_eq!(shape.fields["value"].kind, Kind::Number);
        assert_eq!(shape.fields["value"].literals.len(), 2);
    }

    #[test]
    fn every_way_to_name_a_field_is_seen() {
        let shape = shape(&[
            "{'a': payload.a, 'b': payload['b'].c}",
            "has(payload.d) ? payload.d : 1",
            "params.x + payload.e",
        ]);
        let names: Vec<_> = shape.fields.keys().collect();
        assert_eq!(names, ["a", "b", "d", "e"]);
        assert!(shape.fields["b"].fields.contains_key("c"));
    }

    #[test]
    fn what_is_not_the_payload_is_not_a_field() {
        assert_eq!(shape(&["topic", "params.device_id", "message.qos > 0"]), Shape::default());
    }
}
