//! Params of the route's pattern into Rust types.

use serde::{
    Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor,
        value::{BorrowedStrDeserializer, Error as ValueError},
    },
    forward_to_deserialize_any,
};

use super::{Context, FromMessage, Rejection};
use crate::message::Received;

/// The params of the route's pattern: a struct by name, a tuple by position, or one value alone.
///
/// ```
/// # use routemq_worker::extract::Params;
/// #[derive(serde::Deserialize)]
/// struct Device { site: String, device_id: u32 }
///
/// async fn by_name(Params(device): Params<Device>) { println!("{} {}", device.site, device.device_id); }
/// async fn by_position(Params((site, device)): Params<(String, u32)>) { println!("{site} {device}"); }
/// async fn alone(Params(device): Params<u32>) { println!("{device}"); }
/// ```
#[derive(Clone, Debug)]
pub struct Params<T>(pub T);

/// Why the params are not of the handler's type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// A value does not parse.
    #[error("param {name:?} is not {wanted}")]
    NotA {
        /// The param.
        name: String,
        /// In words.
        wanted: &'static str,
    },
    /// The type wants something else than the pattern has.
    #[error("the route's params do not fit: {0}")]
    Mismatch(String),
}

impl<T: DeserializeOwned + Send> FromMessage for Params<T> {
    fn from_message(context: &Context<'_>) -> Result<Self, Rejection> {
        Ok(Self(T::deserialize(All { received: context.message })?))
    }
}

impl serde::de::Error for ParamError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Mismatch(message.to_string())
    }
}

/// Reads all params: as a map, a sequence, or the only one.
struct All<'de> {
    received: &'de Received,
}

impl<'de> All<'de> {
    fn only(&self) -> Result<One<'de>, ParamError> {
        let mut params = self.received.params();
        match (params.next(), params.len()) {
            (Some((name, value)), 0) => Ok(One { name, value }),
            (_, _) => Err(ParamError::Mismatch(format!(
                "the handler takes one, the pattern has {}",
                self.received.params().len()
            ))),
        }
    }
}

macro_rules! only {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
            self.only()?.$method(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for All<'de> {
    type Error = ParamError;

    only! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_f32
        deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_option deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ParamError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ParamError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ParamError> {
        self.only()?.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_seq(Walk { received: self.received, at: 0 })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, ParamError> {
        let has = self.received.params().len();
        if has != len {
            let words = format!("the handler takes {len}, the pattern has {has}");
            return Err(ParamError::Mismatch(words));
        }
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, ParamError> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_map(Walk { received: self.received, at: 0 })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ParamError> {
        self.deserialize_map(visitor)
    }
}

/// Walks over the params in the pattern's order.
struct Walk<'de> {
    received: &'de Received,
    at: usize,
}

impl<'de> Walk<'de> {
    fn value(&mut self) -> Option<One<'de>> {
        let (name, value) = self.received.params().nth(self.at)?;
        self.at += 1;
        Some(One { name, value })
    }
}

impl<'de> SeqAccess<'de> for Walk<'de> {
    type Error = ParamError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ParamError> {
        self.value().map(|value| seed.deserialize(value)).transpose()
    }
}

impl<'de> MapAccess<'de> for Walk<'de> {
    type Error = ParamError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ParamError> {
        let Some((name, _)) = self.received.params().nth(self.at) else { return Ok(None) };
        let key = seed.deserialize(BorrowedStrDeserializer::<ValueError>::new(name));
        key.map(Some).map_err(|error| ParamError::Mismatch(error.to_string()))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, ParamError> {
        let ended = || ParamError::Mismatch("there is no further param".to_owned());
        seed.deserialize(self.value().ok_or_else(ended)?)
    }
}

/// Reads one param's value: text that is parsed as what the type wants.
#[derive(Clone, Copy)]
struct One<'de> {
    name: &'de str,
    value: &'de str,
}

macro_rules! parsed {
    ($($method:ident $visit:ident $wanted:literal)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
            let not_a = |_| ParamError::NotA { name: self.name.to_owned(), wanted: $wanted };
            visitor.$visit(self.value.parse().map_err(not_a)?)
        })*
    };
}

impl<'de> Deserializer<'de> for One<'de> {
    type Error = ParamError;

    parsed! {
        deserialize_bool visit_bool "true or false"
        deserialize_i8 visit_i8 "a whole number from -128 to 127"
        deserialize_i16 visit_i16 "a whole number of 16 bits"
        deserialize_i32 visit_i32 "a whole number of 32 bits"
        deserialize_i64 visit_i64 "a whole number of 64 bits"
        deserialize_u8 visit_u8 "a whole number from 0 to 255"
        deserialize_u16 visit_u16 "a whole number of 16 bits, not negative"
        deserialize_u32 visit_u32 "a whole number of 32 bits, not negative"
        deserialize_u64 visit_u64 "a whole number of 64 bits, not negative"
        deserialize_f32 visit_f32 "a number"
        deserialize_f64 visit_f64 "a number"
        deserialize_char visit_char "one character"
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_borrowed_str(self.value)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ParamError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ParamError> {
        let text = BorrowedStrDeserializer::<ValueError>::new(self.value);
        let value = text.deserialize_enum(name, variants, visitor);
        value.map_err(|_| ParamError::NotA { name: self.name.to_owned(), wanted: "a known word" })
    }

    forward_to_deserialize_any! {
        i128 u128 str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}
