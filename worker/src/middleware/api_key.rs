//! Rejects messages without a known key.

use cel::common::types::CelString;
use routemq_crds::table::KeySource;
use subtle::{Choice, ConstantTimeEq};

use super::Entered;
use crate::{
    message::Message,
    outcome::{Failure, Outcome, class},
    secrets::Watched,
};

/// The `apiKey` middleware. Its keys are read again when their file changes.
#[derive(Debug)]
pub(crate) struct ApiKey {
    keys: Watched<Keys>,
    source: KeySource,
}

/// Known keys; never shown.
pub(crate) struct Keys(Vec<Vec<u8>>);

impl Keys {
    /// One key a line; blanks around it and empty lines do not count.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let keys: Vec<_> = lines.filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect();
        if keys.is_empty() {
            Err("it holds no key: write one a line".to_owned())
        } else {
            Ok(Self(keys))
        }
    }

    /// Compares with every key, each in a time that does not depend on where they differ.
    fn contain(&self, candidate: &[u8]) -> bool {
        let none = Choice::from(0);
        self.0.iter().fold(none, |found, key| found | key.as_slice().ct_eq(candidate)).into()
    }
}

impl ApiKey {
    pub(crate) fn new(keys: Watched<Keys>, source: KeySource) -> Self {
        Self { keys, source }
    }

    pub(crate) fn enter(&self, message: &mut Message) -> Result<Entered, Failure> {
        let known = match &self.source {
            KeySource::Field(path) => self.known_field(message, path),
            KeySource::UserProperty(name) => self.known_property(message, name),
        };
        if !known {
            return Ok(Entered::End(Outcome::Rejected(class::UNAUTHORIZED)));
        }
        match &self.source {
            KeySource::Field(path) => message.payload_mut().remove(path)?,
            KeySource::UserProperty(name) => message.hide_user_property(name),
        }
        Ok(Entered::Continue)
    }

    /// A payload that cannot be read has no key: strangers do not reach the dead letters.
    fn known_field(&self, message: &Message, path: &[String]) -> bool {
        let field = message.payload().field(path).ok().flatten();
        let Some(value) = field else { return false };
        let text = value.downcast_ref::<CelString<'_>>();
        text.is_some_and(|text| self.keys.get().contain(text.inner().as_bytes()))
    }

    fn known_property(&self, message: &Message, name: &str) -> bool {
        let pairs = message.properties().map(|it| it.user.as_slice()).unwrap_or_default();
        let keys = self.keys.get();
        pairs.iter().any(|(it, value)| it == name && keys.contain(value.as_bytes()))
    }
}
