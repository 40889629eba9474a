//! Changes to single fields of a payload, by path.

use std::collections::HashMap;

use cel::common::{
    types::{CelMap, CelMapKey, CelString},
    value::Val,
};

use super::{Decoded, Payload, PayloadError};

type Fields = HashMap<CelMapKey<'static>, Decoded>;

impl Payload {
    /// The value at `path` (names of nested map fields); `None` where there is none.
    pub(crate) fn field(
        &self,
        path: &[String],
    ) -> Result<Option<&(dyn Val + 'static)>, PayloadError> {
        let mut value = self.decoded()?;
        for name in path {
            match fields(value).and_then(|fields| fields.get(&key(name))) {
                Some(inner) => value = &**inner,
                None => return Ok(None),
            }
        }
        Ok(Some(value))
    }

    /// Takes the field at `path` away, where it is there.
    pub(crate) fn remove(&mut self, path: &[String]) -> Result<(), PayloadError> {
        let changed = without(self.decoded()?, path);
        if let Some(value) = changed {
            self.set_decoded(value);
        }
        Ok(())
    }

    /// Puts `new` at `path`, making maps on the way where something else or nothing is.
    pub(crate) fn set(&mut self, path: &[String], new: Decoded) -> Result<(), PayloadError> {
        let value = with(Some(self.decoded()?), path, new);
        self.set_decoded(value);
        Ok(())
    }
}

fn fields<'a>(value: &'a (dyn Val + 'static)) -> Option<&'a Fields> {
    value.downcast_ref::<CelMap<'static>>().map(CelMap::inner)
}

/// A copy of all fields but `name`.
fn others(fields: &Fields, name: &str) -> Fields {
    let name = CelMapKey::from(name);
    let kept = fields.iter().filter(|(key, _)| **key != name);
    kept.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn key(name: &str) -> CelMapKey<'static> {
    CelMapKey::String(CelString::from(name.to_owned()))
}

/// `None`: there is nothing at `path`, nothing changes.
fn without(value: &(dyn Val + 'static), path: &[String]) -> Option<Decoded> {
    let (name, rest) = path.split_first()?;
    let fields = fields(value)?;
    let inner = fields.get(&CelMapKey::from(name.as_str()))?;
    let replacement = if rest.is_empty() { None } else { Some(without(&**inner, rest)?) };
    let mut changed = others(fields, name);
    changed.extend(replacement.map(|inner| (key(name), inner)));
    Some(Box::new(CelMap::from(changed)))
}

fn with(value: Option<&(dyn Val + 'static)>, path: &[String], new: Decoded) -> Decoded {
    let Some((name, rest)) = path.split_first() else { return new };
    let fields = value.and_then(fields);
    let inner = fields.and_then(|fields| fields.get(&CelMapKey::from(name.as_str())));
    let new = with(inner.map(|inner| &**inner), rest, new);
    let mut changed = fields.map(|fields| others(fields, name)).unwrap_or_default();
    changed.insert(key(name), new);
    Box::new(CelMap::from(changed))
}
