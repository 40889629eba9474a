//! The variables of expressions, made when asked for.

use std::collections::HashMap;

use cel::{
    common::{
        types::{CelBool, CelDouble, CelInt, CelMap, CelMapKey, CelString, CelTimestamp},
        value::{CowVal, Val},
    },
    context::VariableResolver,
};
use chrono::{DateTime, Utc};
use routemq_crds::topic::ParamKind;
use routemq_mqtt::Properties;

use crate::message::{Message, ParamInfo};

/// `topic`, `params`, `payload`, `message`, `route`, `results` of one message.
///
/// The evaluator asks for the longest dotted name first: `params.device_id` is answered without
/// building the map that `params` alone would need.
pub(super) struct Variables<'m> {
    pub(super) message: &'m Message,
    /// Decoded beforehand, since a resolver cannot fail; `None` where the expression does not name it.
    pub(super) payload: Option<&'m (dyn Val + 'static)>,
}

type Fields<'b> = HashMap<CelMapKey<'b>, Box<dyn Val + 'b>>;

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        match name {
            "payload" => Some(CowVal::Borrowed(self.payload?)),
            "topic" => Some(CowVal::owned(CelString::from(self.message.topic()))),
            "route" => Some(CowVal::owned(CelString::from(&**self.message.route()))),
            "params" => Some(CowVal::owned(self.params())),
            "message" => Some(CowVal::owned(self.fields())),
            "results" => Some(CowVal::owned(self.results())),
            _ => self.dotted(name),
        }
    }
}

impl Variables<'_> {
    fn dotted<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let (variable, field) = name.split_once('.')?;
        match variable {
            "params" => self.param(field).map(CowVal::Owned),
            "message" => self.field(field).map(CowVal::Owned),
            _ => None,
        }
    }

    fn param<'b>(&'b self, name: &str) -> Option<Box<dyn Val + 'b>> {
        let params = &self.message.info().params;
        let index = params.iter().position(|param| param.name == name)?;
        Some(typed(&params[index], self.message.param_at(index)))
    }

    fn params(&self) -> CelMap<'_> {
        let params = self.message.info().params.iter().enumerate();
        let entry = |(index, param): (usize, &ParamInfo)| {
            let name = CelMapKey::String(CelString::from(param.name.clone()));
            (name, typed(param, self.message.param_at(index)))
        };
        CelMap::from(params.map(entry).collect::<Fields<'_>>())
    }

    /// One field of `message`; fields that the message does not have are absent, for `has()`.
    fn field<'b>(&'b self, name: &str) -> Option<Box<dyn Val + 'b>> {
        let message = self.message;
        let properties = message.properties();
        match name {
            "qos" => Some(Box::new(CelInt::from(message.qos() as i64))),
            "retain" => Some(Box::new(CelBool::from(message.retain()))),
            "duplicate" => Some(Box::new(CelBool::from(message.duplicate()))),
            "receivedAt" => {
                let time: DateTime<Utc> = message.received_at().into();
                Some(Box::new(CelTimestamp::from(time.fixed_offset())))
            }
            "properties" => Some(Box::new(user_properties(properties))),
            "contentType" => text(properties?.content_type.as_deref()),
            "responseTopic" => text(properties?.response_topic.as_deref()),
            _ => None,
        }
    }

    fn fields(&self) -> CelMap<'_> {
        const NAMES: [&str; 7] = [
            "qos",
            "retain",
            "duplicate",
            "receivedAt",
            "properties",
            "contentType",
            "responseTopic",
        ];
        let entry = |name: &'static str| Some((CelMapKey::from(name), self.field(name)?));
        CelMap::from(NAMES.into_iter().filter_map(entry).collect::<Fields<'_>>())
    }

    fn results(&self) -> CelMap<'_> {
        let names = &self.message.info().results;
        let results = self.message.progress.results();
        let entry = |(index, value): &(usize, cel::Value)| {
            let name = names.get(*index)?.clone()?;
            let value: Box<dyn Val> = value.clone().try_into().ok()?;
            Some((CelMapKey::String(CelString::from(name)), value as Box<dyn Val + '_>))
        };
        CelMap::from(results.iter().filter_map(entry).collect::<Fields<'_>>())
    }
}

/// A param as its kind: the matcher has checked that it parses.
fn typed<'b>(param: &ParamInfo, value: &'b str) -> Box<dyn Val + 'b> {
    match param.kind {
        ParamKind::Int => value.parse::<i64>().map_or_else(
            |_| Box::new(CelString::from(value)) as Box<dyn Val + 'b>,
            |number| Box::new(CelInt::from(number)),
        ),
        ParamKind::Float => value.parse::<f64>().map_or_else(
            |_| Box::new(CelString::from(value)) as Box<dyn Val + 'b>,
            |number| Box::new(CelDouble::from(number)),
        ),
        ParamKind::Text | ParamKind::Uuid => Box::new(CelString::from(value)),
    }
}

fn text<'b>(value: Option<&'b str>) -> Option<Box<dyn Val + 'b>> {
    value.map(|value| Box::new(CelString::from(value)) as Box<dyn Val + 'b>)
}

/// User properties by name; of a repeated name the last value counts.
fn user_properties(properties: Option<&Properties>) -> CelMap<'_> {
    let pairs = properties.map(|it| it.user.as_slice()).unwrap_or_default();
    let entry = |(name, value): &'_ (String, String)| {
        let value = Box::new(CelString::from(value.clone())) as Box<dyn Val>;
        (CelMapKey::String(CelString::from(name.clone())), value)
    };
    CelMap::from(pairs.iter().map(entry).collect::<Fields<'_>>())
}
