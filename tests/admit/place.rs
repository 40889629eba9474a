//! A place in a document with its schema, and what would break each bound there.

use serde_json::{Value, json};

use crate::schema;

/// Has no place in the schema, nor any field's value.
const STRANGE: &str = "unheardOf";

/// A step from an object to one within it.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Field(String),
    Item(usize),
}

/// One bound, at one place of a document.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    /// The bound, by its place in the schema.
    pub(crate) id: String,
    pub(crate) steps: Vec<Step>,
    /// `None`: the field is taken away.
    pub(crate) beyond: Option<Value>,
    pub(crate) within: Vec<Value>,
    /// What the API server says beyond it.
    pub(crate) says: String,
}

impl Probe {
    /// Where it breaks something, as the API server writes it.
    pub(crate) fn path(&self) -> String {
        path(&self.steps)
    }

    /// The document with a value in the place, or without it.
    pub(crate) fn in_document(&self, sound: &Value, value: Option<Value>) -> Value {
        let mut document = sound.clone();
        let (last, above) = self.steps.split_last().expect("a place is below the object");
        let parent = above.iter().fold(&mut document, |within, step| match step {
            Step::Field(name) => &mut within[name],
            Step::Item(index) => &mut within[index],
        });
        match (last, value) {
            (Step::Field(name), Some(value)) => parent[name] = value,
            (Step::Field(name), None) => drop(parent.as_object_mut().unwrap().remove(name)),
            (Step::Item(index), value) => parent[index] = value.unwrap_or_default(),
        }
        document
    }
}

/// A place in a document, its schema, and what stands there.
pub(crate) struct Place<'a> {
    pub(crate) schema: &'a Value,
    /// With `[]` for every item.
    pub(crate) id: String,
    steps: Vec<Step>,
    value: Option<&'a Value>,
}

impl<'a> Place<'a> {
    pub(crate) fn spec(value: &'a Value) -> Self {
        let steps = vec![Step::Field("spec".to_owned())];
        Self { schema: schema::spec(), id: "spec".to_owned(), steps, value: Some(value) }
    }

    fn field(&self, name: &str, schema: &'a Value) -> Self {
        let value = self.value.and_then(|value| value.get(name));
        self.below(&format!(".{name}"), Step::Field(name.to_owned()), schema, value)
    }

    fn item(&self, index: usize, value: &'a Value) -> Self {
        self.below("[]", Step::Item(index), &self.schema["items"], Some(value))
    }

    fn entry(&self, key: &str, value: &'a Value) -> Self {
        let schema = &self.schema["additionalProperties"];
        self.below(".*", Step::Field(key.to_owned()), schema, Some(value))
    }

    fn below(&self, id: &str, step: Step, schema: &'a Value, value: Option<&'a Value>) -> Self {
        let steps = [&self.steps[..], &[step]].concat();
        Self { schema, id: format!("{}{id}", self.id), steps, value }
    }

    /// As the API server writes it.
    fn path(&self) -> String {
        path(&self.steps)
    }

    fn kind(&self) -> &str {
        self.schema["type"].as_str().unwrap_or_default()
    }

    fn bound(&self, name: &str) -> Option<i64> {
        self.schema[name].as_i64()
    }

    fn probe(&self, bound: &str, beyond: Value, within: &[Value], says: &str) -> Probe {
        Probe {
            id: format!("{} {bound}", self.id),
            steps: self.steps.clone(),
            beyond: Some(beyond),
            within: within.to_vec(),
            says: format!("{}: {says}", self.path()),
        }
    }

    /// The bounds of this place alone.
    pub(crate) fn probes(&self) -> Vec<Probe> {
        [
            self.kinds(),
            self.choices(),
            self.numbers(),
            self.texts(),
            self.lists(),
            self.entries(),
            self.required(),
            self.unknown(),
        ]
        .concat()
    }

    fn kinds(&self) -> Vec<Probe> {
        let (wrong, name) =
            if self.kind() == "string" { (json!(7), "integer") } else { (json!("x"), "string") };
        let says = format!(
            "Invalid value: \"{name}\": {} in body must be of type {}: \"{name}\"",
            self.path(),
            self.kind()
        );
        if self.kind().is_empty() { vec![] } else { vec![self.probe("type", wrong, &[], &says)] }
    }

    fn choices(&self) -> Vec<Probe> {
        let Some(choices) = self.schema["enum"].as_array() else { return vec![] };
        let all: Vec<_> = choices.iter().map(ToString::to_string).collect();
        let all = all.join(", ");
        let says = format!("Unsupported value: \"{STRANGE}\": supported values: {all}");
        vec![self.probe("enum", json!(STRANGE), choices, &says)]
    }

    fn numbers(&self) -> Vec<Probe> {
        let probe = |bound: &str, at: i64, step: i64, than: &str| {
            let (path, beyond) = (self.path(), at + step);
            let says = format!(
                "Invalid value: {beyond}: {path} in body should be {than} or equal to {at}"
            );
            self.probe(bound, json!(beyond), &[json!(at)], &says)
        };
        let least = self.bound("minimum").map(|at| probe("minimum", at, -1, "greater than"));
        let most = self.bound("maximum").map(|at| probe("maximum", at, 1, "less than"));
        least.into_iter().chain(most).collect()
    }

    fn texts(&self) -> Vec<Probe> {
        let text = |length: i64| json!("x".repeat(usize::try_from(length).unwrap()));
        let least = self.bound("minLength").map(|least| {
            let says = self.should("be at least", least, "chars long", "\"\"");
            self.probe("minLength", text(least - 1), &[text(least)], &says)
        });
        let most = self.bound("maxLength").map(|most| {
            let says = format!("Too long: may not be more than {most} bytes");
            self.probe("maxLength", text(most + 1), &[text(most)], &says)
        });
        least.into_iter().chain(most).collect()
    }

    fn lists(&self) -> Vec<Probe> {
        let first = self.value.and_then(|list| list.get(0));
        let copies = |count: i64| {
            let count = usize::try_from(count).unwrap();
            Value::Array(vec![first.cloned().unwrap_or_default(); count])
        };
        let least = self.bound("minItems").map(|least| {
            let says = self.should("have at least", least, "items", &(least - 1).to_string());
            self.probe("minItems", copies(least - 1), &[], &says)
        });
        let most = self.bound("maxItems").filter(|_| first.is_some()).map(|most| {
            let says = format!("Too many: {}: must have at most {most} items", most + 1);
            self.probe("maxItems", copies(most + 1), &[copies(most)], &says)
        });
        least.into_iter().chain(most).collect()
    }

    fn entries(&self) -> Vec<Probe> {
        let entries = |count: i64| {
            let keys = (0..count).map(|index| (format!("k{index}"), json!("x")));
            Value::Object(keys.collect())
        };
        let least = self.bound("minProperties").filter(|least| *least > 0).map(|least| {
            let says = self.should("have at least", least, "properties", &(least - 1).to_string());
            self.probe("minProperties", entries(least - 1), &[entries(least)], &says)
        });
        let most = self.bound("maxProperties").map(|most| {
            let says = format!("Too many: {}: must have at most {most} items", most + 1);
            self.probe("maxProperties", entries(most + 1), &[entries(most)], &says)
        });
        least.into_iter().chain(most).collect()
    }

    /// What the API server says of a length below its bound.
    fn should(&self, what: &str, least: i64, unit: &str, value: &str) -> String {
        format!("Invalid value: {value}: {} in body should {what} {least} {unit}", self.path())
    }

    fn required(&self) -> Vec<Probe> {
        let names = self.schema["required"].as_array().filter(|_| self.value.is_some());
        let without = |name: &Value| {
            let name = name.as_str().expect("a field's name");
            let mut probe = self.field(name, &Value::Null).probe(
                "required",
                Value::Null,
                &[],
                "Required value",
            );
            probe.beyond = None;
            probe
        };
        names.into_iter().flatten().map(without).collect()
    }

    /// A field that no schema has, where fields are listed.
    fn unknown(&self) -> Vec<Probe> {
        let listed = self.schema.get("properties").is_some() && self.value.is_some();
        let mut probe = self.field(STRANGE, &Value::Null).probe("unknown", json!(1), &[], "");
        probe.says = format!("unknown field \"{}.{STRANGE}\"", self.path());
        if listed { vec![probe] } else { vec![] }
    }

    /// Everything below it that can be reached.
    pub(crate) fn children(&self) -> Vec<Self> {
        let fields = self.schema["properties"].as_object().filter(|_| self.value.is_some());
        let fields = fields.into_iter().flatten().map(|(name, schema)| self.field(name, schema));
        let items = self.value.and_then(Value::as_array).into_iter().flatten().enumerate();
        let items = items.map(|(index, value)| self.item(index, value));
        let entries = self
            .value
            .and_then(Value::as_object)
            .filter(|_| self.schema.get("additionalProperties").is_some());
        let entries = entries.into_iter().flatten().map(|(key, value)| self.entry(key, value));
        fields.chain(items).chain(entries).collect()
    }
}

fn path(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Field(name) if path.is_empty() => path.clone_from(name),
            Step::Field(name) => path = format!("{path}.{name}"),
            Step::Item(index) => path = format!("{path}[{index}]"),
        }
    }
    path
}
