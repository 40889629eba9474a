//! Some fields of a payload: of JSON read in one pass, with no tree of the rest; of what was decoded before, picked out.
//!
//! # Guarantees
//! - What is found is what an expression would give, and the whole payload keeps the route's rules.
//! - Whatever is not as simple as that gives nothing at all: bytes that are not JSON, a rule that is broken, a field that is not there or
//!   (of JSON) is no single value. Whoever asks evaluates then, and tells what is wrong.

use std::{borrow::Cow, fmt};

use cel::{
    Value,
    common::{
        types::{CelMap, CelMapKey},
        value::Val,
    },
};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use smallvec::SmallVec;

/// Keys of one object, looked through one by one for one that is there twice: beyond it a table of them is quicker, which decoding makes.
const MOST_KEYS: usize = 32;
/// Nobody sees it: the payload is decoded instead.
const GIVEN_UP: &str = "not as simple as that";

/// Fields by their names, as a tree.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    names: Vec<(String, Field)>,
}

#[derive(Debug)]
enum Field {
    /// A single value, for these places.
    Value(SmallVec<[usize; 1]>),
    Inner(Fields),
}

/// What was found, by place.
pub(crate) type Found = SmallVec<[Option<Value>; 8]>;

impl Fields {
    /// Wants the value at `path` for a place. False where that cannot be: the payload itself, or a field within one that is
    /// wanted whole.
    pub(crate) fn want(&mut self, path: &[&str], place: usize) -> bool {
        let Some((name, rest)) = path.split_first() else { return false };
        let known = self.names.iter().position(|(known, _)| known == name);
        let at = known.unwrap_or_else(|| {
            let new = match rest {
                [] => Field::Value(SmallVec::new()),
                _ => Field::Inner(Self::default()),
            };
            self.names.push(((*name).to_owned(), new));
            self.names.len() - 1
        });
        match (&mut self.names[at].1, rest) {
            (Field::Value(places), []) => places.push(place),
            (Field::Inner(fields), [_, ..]) => return fields.want(rest, place),
            _ => return false,
        }
        true
    }

    /// Whether none is wanted.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn named(&self, name: &str) -> Option<&Field> {
        self.names.iter().find(|(known, _)| known == name).map(|(_, field)| field)
    }
}

/// Reads them into `found`, whose places are there; `None`: nothing in it counts.
pub(super) fn read(
    bytes: &[u8],
    max_depth: usize,
    wanted: &Fields,
    found: &mut Found,
) -> Option<()> {
    let mut parser = serde_json::Deserializer::from_str(std::str::from_utf8(bytes).ok()?);
    let walk = Walk { wanted: Some(wanted), left: max_depth, found };
    walk.deserialize(&mut parser).and_then(|()| parser.end()).ok()
}

fn put(value: &Value, places: &[usize], found: &mut Found) {
    for place in places {
        found[*place] = Some(value.clone());
    }
}

/// Finds them in what was decoded; `None`: one of them is not there.
pub(super) fn pick(value: &dyn Val, wanted: &Fields, found: &mut Found) -> Option<()> {
    let map = value.downcast_ref::<CelMap<'_>>()?;
    for (name, field) in &wanted.names {
        let value = map.inner().get(&CelMapKey::from(name.as_str()))?;
        match field {
            Field::Inner(fields) => pick(&**value, fields, found)?,
            Field::Value(places) => put(&Value::try_from(&**value).ok()?, places, found),
        }
    }
    Some(())
}

/// Goes through one value; knows how many levels may still open below it.
struct Walk<'a> {
    wanted: Option<&'a Fields>,
    left: usize,
    found: &'a mut Found,
}

impl Walk<'_> {
    fn inner<E: Error>(&self) -> Result<usize, E> {
        self.left.checked_sub(1).ok_or_else(|| E::custom(GIVEN_UP))
    }

    fn entry<'de, A: MapAccess<'de>>(
        &mut self,
        left: usize,
        key: &str,
        entries: &mut A,
    ) -> Result<(), A::Error> {
        let field = self.wanted.and_then(|wanted| wanted.named(key));
        let wanted = match field {
            Some(Field::Value(places)) => {
                put(&entries.next_value_seed(Single)?, places, self.found);
                return Ok(());
            }
            Some(Field::Inner(fields)) => Some(fields),
            None => None,
        };
        entries.next_value_seed(Walk { wanted, left, found: self.found })
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(GIVEN_UP)
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let left = self.inner()?;
        let found = self.found;
        while items.next_element_seed(Walk { wanted: None, left, found })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        let left = self.inner()?;
        let mut keys = SmallVec::<[Cow<'de, str>; 16]>::new();
        while let Some(key) = entries.next_key_seed(Key)? {
            if keys.len() == MOST_KEYS || keys.contains(&key) {
                return Err(A::Error::custom(GIVEN_UP));
            }
            self.entry(left, &key, &mut entries)?;
            keys.push(key);
        }
        Ok(())
    }
}

/// A name; lies in the payload where nothing in it is escaped.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(GIVEN_UP)
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// A value that is neither a list nor an object.
struct Single;

impl<'de> DeserializeSeed<'de> for Single {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Single {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(GIVEN_UP)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::UInt(value), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
}
