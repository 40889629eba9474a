//! Expressions that are evaluated together, as those of a row are.
//!
//! Most of them only name something: `params.device_id`, `payload.temperature`. Those are read from where they stand, all fields of the
//! payload in one pass. What cannot be read so is evaluated as any other expression is, and only that tells of errors: so both ways say
//! the same.

use cel::common::value::CowVal;
use routemq_crds::expression::Expression;
use smallvec::smallvec;

use super::{Evaluator, variables::Variables};
use crate::{message::Message, outcome::Failure, payload::Fields};

/// The expressions of a row, in order.
#[derive(Debug)]
pub(crate) struct Columns {
    list: Vec<Column>,
    fields: Fields,
    /// Some column needs the payload decoded: then the fields are picked out of that.
    decodes: bool,
}

#[derive(Debug)]
struct Column {
    value: Expression,
    /// `topic`, `params.x`: what the evaluator would ask for by this name.
    variable: Option<String>,
}

impl Columns {
    pub(crate) fn new(expressions: impl IntoIterator<Item = Expression>) -> Self {
        let (mut fields, mut decodes) = (Fields::default(), false);
        let column = |(place, value): (usize, Expression)| {
            let path = value.path().unwrap_or_default();
            let variable = match path.as_slice() {
                ["payload", path @ ..] if fields.want(path, place) => None,
                [variable] if *variable != "payload" => Some((*variable).to_owned()),
                ["params" | "message", _] => Some(path.join(".")),
                _ => {
                    decodes |= value.uses_payload();
                    None
                }
            };
            Column { value, variable }
        };
        let list = expressions.into_iter().enumerate().map(column).collect();
        Self { list, fields, decodes }
    }

    /// Their values for a message, each with its expression, as they are asked for.
    pub(crate) fn values<'a>(
        &'a self,
        message: &'a Message,
        evaluator: &'a Evaluator,
    ) -> impl Iterator<Item = (&'a Expression, Result<cel::Value, Failure>)> {
        let (payload, places) = (message.payload(), self.list.len());
        if self.decodes {
            // What is wrong with it is told by the column that needs it.
            let _ = payload.decoded();
        }
        let found = (!self.fields.is_empty()).then(|| payload.fields(&self.fields, places));
        let found = found.flatten().unwrap_or_else(|| smallvec![None; places]);
        self.list.iter().zip(found).map(|(Column { value, variable }, found)| {
            let named = || named(variable.as_deref()?, message);
            let found = found.or_else(named);
            (value, found.map_or_else(|| evaluator.value(value, message), Ok))
        })
    }
}

fn named(variable: &str, message: &Message) -> Option<cel::Value> {
    let variables = Variables { message, payload: None };
    let value: CowVal<'_, '_> = cel::context::VariableResolver::resolve(&variables, variable)?;
    cel::Value::try_from(value.as_ref()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use routemq_crds::v1alpha1::PayloadFormat;

    use super::*;
    use crate::{
        Engine,
        database::SqlValue,
        testing::{admit, at, bed, rules},
    };

    const SOURCES: [&str; 12] = [
        "payload.a",
        "payload.b",
        "payload.a.b",
        "payload.b.a",
        "payload.b.b.a",
        "payload.a",
        "payload",
        "payload.a + 1",
        "params.id",
        "params.n",
        "topic",
        "message.qos",
    ];

    /// A route whose payloads are read by these rules, at most three levels deep.
    fn engine(format: PayloadFormat) -> Engine {
        let mut bed = bed("d/{id}/{n:int}");
        bed.route.payload = rules(format);
        bed.route.payload.max_depth = 3;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(bed.engine()).0
    }

    /// What each column is, or why it is nothing.
    fn told(values: impl Iterator<Item = Result<cel::Value, Failure>>) -> Vec<String> {
        let told = |it| format!("{:?}", SqlValue::try_from(it));
        values.map(|it| it.map_or_else(|it| it.describe(400), told)).collect()
    }

    fn check(engine: &Engine, payload: &[u8], sources: &[&str]) -> Result<(), TestCaseError> {
        let evaluator = Evaluator::new();
        let message = || admit(engine, ("d/x/7", payload.to_owned()));
        let columns = Columns::new(sources.iter().map(|source| at(source)));
        let together = told(columns.values(&message(), &evaluator).map(|(_, value)| value));
        let (alone, other) = (message(), message());
        let one_by_one = sources.iter().map(|source| evaluator.value(&at(source), &alone));
        prop_assert_eq!(&together, &told(one_by_one));
        // What was decoded before is not read again.
        let _ = other.payload().decoded();
        let decoded = told(columns.values(&other, &evaluator).map(|(_, value)| value));
        prop_assert_eq!(together, decoded);
        Ok(())
    }

    fn json() -> impl Strategy<Value = String> {
        let single = prop::sample::select(vec![
            "1",
            "-0",
            "2.5",
            "1e999",
            "9223372036854775808",
            "true",
            "null",
            "\"x\"",
            "\"\\u00e9\"",
            "\"",
            "tru",
        ]);
        single.prop_map(str::to_owned).prop_recursive(4, 24, 3, |inner| {
            let name = prop::sample::select(vec!["a", "b", "c", "\\u0061"]);
            let entry = (name, inner.clone()).prop_map(|(name, it)| format!("\"{name}\": {it}"));
            prop_oneof![
                prop::collection::vec(entry, 0..4).prop_map(|it| format!("{{{}}}", it.join(","))),
                prop::collection::vec(inner, 0..3).prop_map(|it| format!("[{}]", it.join(","))),
            ]
        })
    }

    proptest! {
        #[test]
        fn columns_are_what_each_expression_gives_alone(
            payload in json(),
            sources in prop::collection::vec(prop::sample::select(&SOURCES[..]), 1..6),
        ) {
            for format in [PayloadFormat::Auto, PayloadFormat::Text] {
                check(&engine(format), payload.as_bytes(), &sources)?;
            }
        }
    }

    #[test]
    fn what_is_not_simple_is_left_to_the_evaluator() {
        let engine = engine(PayloadFormat::Json);
        let many = (0..40).map(|it| format!("\"k{it}\": {it}")).collect::<Vec<_>>().join(",");
        for (name, payload) in [
            ("fields", r#"{"a": 1, "b": {"a": "x"}}"#.to_owned()),
            ("a field is not there", r#"{"b": {"a": "x"}}"#.to_owned()),
            ("a key is there twice", r#"{"a": 1, "b": 2, "c": {"x": 1, "x": 2}}"#.to_owned()),
            ("a key is there twice, once escaped", r#"{"a": 1, "\u0061": 2}"#.to_owned()),
            ("too deep", r#"{"a": 1, "b": {"a": [[1]]}}"#.to_owned()),
            ("more keys than are looked through", format!("{{{many}, \"a\": 1}}")),
            ("more behind it", r#"{"a": 1} {"a": 2}"#.to_owned()),
            ("a list where a value is wanted", r#"{"a": [1], "b": {"a": 1}}"#.to_owned()),
        ] {
            let columns = ["payload.a", "payload.b.a"];
            check(&engine, payload.as_bytes(), &columns)
                .unwrap_or_else(|it| panic!("{name}: {it}"));
        }
    }

    #[test]
    fn simple_fields_are_read_without_decoding_the_payload() {
        let engine = engine(PayloadFormat::Auto);
        let message = admit(&engine, ("d/x/7", r#"{"a": 1, "b": {"a": "x"}, "c": [{}]}"#));
        let mut wanted = Fields::default();
        assert!(wanted.want(&["a"], 0) && wanted.want(&["b", "a"], 1) && wanted.want(&["a"], 2));
        assert!(!wanted.want(&["b"], 3) && !wanted.want(&["a", "b"], 3) && !wanted.want(&[], 3));
        let found = message.payload().fields(&wanted, 3).unwrap();
        let wanted = [Some(1_i64.into()), Some("x".into()), Some(1_i64.into())];
        assert_eq!(*found, wanted);
    }
}
