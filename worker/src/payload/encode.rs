//! CEL values to bytes, straight from the value: no tree in between.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use cel::common::{
    types::{
        CelBool, CelBytes, CelDouble, CelDuration, CelInt, CelList, CelMap, CelMapKey, CelNull,
        CelOptional, CelString, CelTimestamp, CelUInt,
    },
    value::Val,
};
use routemq_crds::v1alpha1::PayloadFormat;
use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};

use super::PayloadError;

/// The bytes that a value is published as: a string or bytes as they are, anything else as JSON.
/// `None` for a value without a JSON form (a type, a struct).
pub(crate) fn to_bytes(value: &dyn Val) -> Option<Bytes> {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return Some(Bytes::copy_from_slice(text.inner().as_bytes()));
    }
    if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
        return Some(Bytes::copy_from_slice(bytes.inner()));
    }
    let mut json = Vec::with_capacity(64);
    serde_json::to_writer(&mut json, &Encodable { value, binary: false }).ok()?;
    Some(json.into())
}

/// A changed payload in the route's format.
pub(super) fn payload(value: &dyn Val, format: PayloadFormat) -> Result<Bytes, PayloadError> {
    let tree = Encodable { value, binary: true };
    match format {
        PayloadFormat::Cbor => {
            let mut out = Vec::with_capacity(64);
            ciborium::into_writer(&tree, &mut out)
                .map_err(|_| PayloadError::NotEncodable { format: "CBOR" })?;
            Ok(out.into())
        }
        PayloadFormat::MessagePack => rmp_serde::to_vec(&tree)
            .map(Bytes::from)
            .map_err(|_| PayloadError::NotEncodable { format: "MessagePack" }),
        PayloadFormat::Auto | PayloadFormat::Json | PayloadFormat::Text | PayloadFormat::Raw => {
            to_bytes(value).ok_or(PayloadError::NotEncodable { format: "JSON" })
        }
    }
}

/// A CEL value as serde sees it. Where the format has no bytes (JSON) they become base64, times
/// become RFC 3339 text, durations seconds with an `s`, an absent optional null.
pub(crate) struct Encodable<'a> {
    pub(crate) value: &'a dyn Val,
    /// Whether the format has bytes of its own.
    pub(crate) binary: bool,
}

impl Serialize for Encodable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.value;
        if let Some(text) = value.downcast_ref::<CelString<'_>>() {
            serializer.serialize_str(text.inner())
        } else if let Some(number) = value.downcast_ref::<CelInt>() {
            serializer.serialize_i64(*number.inner())
        } else if let Some(number) = value.downcast_ref::<CelDouble>() {
            serializer.serialize_f64(*number.inner())
        } else if let Some(flag) = value.downcast_ref::<CelBool>() {
            serializer.serialize_bool(*flag.inner())
        } else if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
            self.map(map, serializer)
        } else if let Some(list) = value.downcast_ref::<CelList<'_>>() {
            serializer.collect_seq(list.inner().iter().map(|item| self.inner(&**item)))
        } else {
            self.rare(serializer)
        }
    }
}

impl Encodable<'_> {
    fn inner<'b>(&self, value: &'b dyn Val) -> Encodable<'b> {
        Encodable { value, binary: self.binary }
    }

    /// Keys are sorted, so that the same value always gives the same bytes.
    fn map<S: Serializer>(&self, map: &CelMap<'_>, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries: Vec<_> = map.inner().iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        let mut out = serializer.serialize_map(Some(entries.len()))?;
        for (key, value) in entries {
            match key {
                CelMapKey::String(text) => out.serialize_key(text.inner())?,
                CelMapKey::Int(number) => out.serialize_key(number.inner())?,
                CelMapKey::UInt(number) => out.serialize_key(number.inner())?,
                CelMapKey::Bool(flag) => out.serialize_key(flag.inner())?,
            }
            out.serialize_value(&self.inner(&**value))?;
        }
        out.end()
    }

    fn rare<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = self.value;
        if value.downcast_ref::<CelNull>().is_some() {
            serializer.serialize_unit()
        } else if let Some(number) = value.downcast_ref::<CelUInt>() {
            serializer.serialize_u64(*number.inner())
        } else if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
            self.bytes(bytes.inner(), serializer)
        } else if let Some(time) = value.downcast_ref::<CelTimestamp>() {
            serializer.serialize_str(&rfc3339(time.inner()))
        } else if let Some(span) = value.downcast_ref::<CelDuration>() {
            serializer.serialize_str(&seconds(*span.inner()))
        } else if let Some(optional) = value.downcast_ref::<CelOptional<'_>>() {
            match optional.option() {
                Some(value) => self.inner(value).serialize(serializer),
                None => serializer.serialize_unit(),
            }
        } else {
            Err(S::Error::custom("the value has no form in this format"))
        }
    }

    fn bytes<S: Serializer>(&self, bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        if self.binary && !serializer.is_human_readable() {
            return serializer.serialize_bytes(bytes);
        }
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }
}

fn rfc3339(time: &chrono::DateTime<chrono::FixedOffset>) -> String {
    time.with_timezone(&chrono::Utc).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// Protobuf's JSON form of a duration.
fn seconds(span: chrono::Duration) -> String {
    let text = format!("{}.{:09}", span.num_seconds().abs(), span.subsec_nanos().abs());
    let sign = if span < chrono::Duration::zero() { "-" } else { "" };
    format!("{sign}{}s", text.trim_end_matches('0').trim_end_matches('.'))
}
