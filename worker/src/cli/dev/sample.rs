//! Plausible messages for a route: the same for the same seed.

use bytes::Bytes;
use routemq_crds::{
    table::{Action, KeySource, Middleware, Route, Table},
    topic::{Level, ParamKind, Pattern},
    v1alpha1::PayloadFormat,
};
use routemq_mqtt::{Outgoing, Properties, QoS};
use routemq_worker::Secrets;
use serde_json::{Map, Value, json};

use super::shape::{self, Kind, Shape};

/// Devices, sensors and whatever else has a number.
const KINDS: u32 = 5;
/// One message in so many brings a wrong key, so that a rejection is seen too.
const WRONG_KEY: u32 = 12;

/// Makes messages up.
#[derive(Clone, Debug)]
pub(super) struct Sampler {
    random: fastrand::Rng,
    made: u32,
}

impl Sampler {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), made: 0 }
    }

    /// A message that belongs to `route`, as far as a few tries can tell.
    pub(super) fn message(&mut self, table: &Table, route: &Route, secrets: &Secrets) -> Outgoing {
        self.made += 1;
        let topic = self.topic_of(table, route);
        let mut payload = self.payload(route);
        let mut properties = Properties::default();
        self.put_keys(route, secrets, &mut payload, &mut properties);
        if route.handlers.iter().any(|handler| matches!(handler.action, Action::Reply { .. })) {
            properties.response_topic = Some(format!("answers/{topic}"));
        }
        let text = match payload {
            Value::String(text) => text,
            other => other.to_string(),
        };
        Outgoing {
            topic: topic.into(),
            payload: Bytes::from(text),
            qos: if route.qos == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce },
            retain: false,
            properties: (properties != Properties::default()).then(|| Box::new(properties)),
        }
    }

    // === topics ===

    /// Tries a few: a more specific route may take a topic of this one's pattern.
    fn topic_of(&mut self, table: &Table, route: &Route) -> String {
        let first = self.topic(&route.pattern);
        let mut topic = first.clone();
        for _ in 0..8 {
            if !table.routes.iter().any(|other| beats(&other.pattern, &route.pattern, &topic)) {
                return topic;
            }
            topic = self.topic(&route.pattern);
        }
        first
    }

    fn topic(&mut self, pattern: &Pattern) -> String {
        let levels: Vec<_> = pattern.levels().iter().map(|level| self.level(level)).collect();
        let topic = levels.join("/");
        // Only a tail of no levels makes an empty topic, which nobody can publish to.
        if topic.is_empty() { "sample".to_owned() } else { topic }
    }

    fn level(&mut self, level: &Level) -> String {
        match level {
            Level::Literal(text) => text.clone(),
            Level::Param { name, kind } => self.param(name, *kind),
            Level::Any => format!("any-{}", self.number()),
            Level::Tail { name } => format!("{}-{}", thing(name), self.number()),
            Level::Rest => format!("rest-{}", self.number()),
        }
    }

    fn param(&mut self, name: &str, kind: ParamKind) -> String {
        let number = self.number();
        match kind {
            ParamKind::Int => number.to_string(),
            ParamKind::Float => format!("{number}.5"),
            ParamKind::Uuid => {
                format!("{:08x}-0000-4000-8000-{:012x}", self.random.u32(..), number)
            }
            ParamKind::Text => match name {
                "date" | "day" => format!("2026-11-{number:02}"),
                "month" => format!("2026-{number:02}"),
                "year" => format!("202{number}"),
                name => format!("{}-{number}", thing(name)),
            },
        }
    }

    fn number(&mut self) -> u32 {
        self.random.u32(1..=KINDS)
    }

    // === payloads ===

    fn payload(&mut self, route: &Route) -> Value {
        match route.payload.format {
            PayloadFormat::Text | PayloadFormat::Raw => json!(format!("sample {}", self.made)),
            _ => {
                let shape = shape::of(route);
                if shape.fields.is_empty() { self.bare(&shape) } else { self.object(&shape) }
            }
        }
    }

    /// No expression names a field: a small reading does.
    fn bare(&mut self, shape: &Shape) -> Value {
        match shape.kind {
            Kind::Number => self.around(&shape.literals),
            _ => json!({"value": self.tenths(180, 260)}),
        }
    }

    fn object(&mut self, shape: &Shape) -> Value {
        let fields =
            shape.fields.iter().map(|(name, field)| (name.clone(), self.field(name, field)));
        Value::Object(fields.collect::<Map<_, _>>())
    }

    fn field(&mut self, name: &str, shape: &Shape) -> Value {
        if !shape.fields.is_empty() {
            return self.object(shape);
        }
        match shape.kind {
            // Mostly what is usual, sometimes what a bound is there for.
            Kind::Number if !shape.literals.is_empty() && self.random.u32(..3) == 0 => {
                self.around(&shape.literals)
            }
            Kind::Number if !shape.literals.is_empty() => {
                self.by_name(name, |it| it.around(&shape.literals))
            }
            _ if !shape.literals.is_empty() => self.choose(&shape.literals),
            Kind::Number => self.by_name(name, |it| json!(it.tenths(0, 1000))),
            Kind::Text => json!(format!("{}-{}", thing(name), self.number())),
            Kind::Bool => json!(self.random.bool()),
            Kind::List => {
                json!([{"value": self.tenths(180, 260)}, {"value": self.tenths(180, 260)}])
            }
            Kind::Unknown => {
                self.by_name(name, |it| json!(format!("{}-{}", thing(name), it.number())))
            }
        }
    }

    /// One of the values that expressions look for; now and then another, so that both ways are seen.
    fn choose(&mut self, literals: &[Value]) -> Value {
        let at = self.random.usize(..literals.len());
        match (&literals[at], self.random.u32(..6)) {
            (Value::String(_), 0) => json!("other"),
            (Value::Bool(value), 0) => json!(!value),
            (value, _) => value.clone(),
        }
    }

    /// Numbers on both sides of a bound, mostly between where there are two.
    fn around(&mut self, literals: &[Value]) -> Value {
        let bounds: Vec<f64> = literals.iter().filter_map(Value::as_f64).collect();
        let low = bounds.iter().copied().fold(f64::INFINITY, f64::min);
        let high = bounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if !low.is_finite() {
            return json!(self.tenths(0, 1000));
        }
        let spread = ((high - low) / 6.0).max(high.abs() / 4.0).max(1.0);
        let value = low - spread + self.random.f64() * (high - low + 2.0 * spread);
        json!((value * 10.0).round() / 10.0)
    }

    /// What names usually mean; otherwise `or`.
    fn by_name(&mut self, name: &str, or: impl FnOnce(&mut Self) -> Value) -> Value {
        match name {
            "value" | "temperature" | "temp" => json!(self.tenths(180, 260)),
            "humidity" | "battery" | "percent" | "level" => json!(self.tenths(300, 900)),
            "unit" => json!("celsius"),
            "status" | "state" => self.choose(&[json!("online"), json!("offline")]),
            "command" => self.choose(&[json!("restart"), json!("shutdown")]),
            "timestamp" | "ts" | "time" | "at" => {
                json!(1_795_474_800_u64 + u64::from(self.made))
            }
            "count" | "n" | "sequence" | "seq" => json!(self.made),
            "version" | "firmware" => json!(format!("1.{}.0", self.number())),
            "enabled" | "active" | "ok" => json!(self.random.bool()),
            _ => or(self),
        }
    }

    fn tenths(&mut self, low: u32, high: u32) -> f64 {
        f64::from(self.random.u32(low..=high)) / 10.0
    }

    // === keys ===

    /// A key that the Secret knows, and now and then one that it does not.
    fn put_keys(
        &mut self,
        route: &Route,
        secrets: &Secrets,
        payload: &mut Value,
        properties: &mut Properties,
    ) {
        for step in route.middleware.iter() {
            let Middleware::ApiKey { keys, source } = step else { continue };
            let known = secrets.text(keys).unwrap_or_default();
            let known: Vec<&str> =
                known.lines().map(str::trim).filter(|key| !key.is_empty()).collect();
            let wrong = self.made > 1 && self.made.is_multiple_of(WRONG_KEY);
            let key =
                if wrong { "a-wrong-key" } else { known.first().copied().unwrap_or_default() };
            match source {
                KeySource::Field(path) => put(payload, path, key),
                KeySource::UserProperty(name) => {
                    properties.user.push((name.clone(), key.to_owned()));
                }
            }
        }
    }
}

fn put(payload: &mut Value, path: &[String], key: &str) {
    let mut at = payload;
    for name in path {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[name.as_str()];
    }
    *at = json!(key);
}

/// Whether `other` takes the topic from `pattern`.
fn beats(other: &Pattern, pattern: &Pattern, topic: &str) -> bool {
    other != pattern && other.matches(topic) && other.compare_specificity(pattern).is_lt()
}

/// `device_id` and `deviceId` are about a device.
fn thing(name: &str) -> &str {
    let thing = name.strip_suffix("_id").or_else(|| name.strip_suffix("Id")).unwrap_or(name);
    if thing.is_empty() { "sample" } else { thing }
}
