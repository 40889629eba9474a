use proptest::prelude::*;
use routemq_crds::v1alpha1::PayloadFormat::{self, Auto, Cbor, Json, MessagePack, Raw, Text};
use serde_json::{Value, json};

use super::*;
use crate::testing::rules;

fn read(bytes: &[u8], format: PayloadFormat) -> Result<Value, PayloadError> {
    let payload = Payload::new(Bytes::copy_from_slice(bytes), rules(format));
    let value = payload.decoded()?;
    Ok(serde_json::to_value(Encodable { value, binary: false }).unwrap())
}

fn class_of(bytes: &[u8], format: PayloadFormat) -> Reason {
    Failure::from(read(bytes, format).unwrap_err()).class
}

use crate::outcome::Reason;

#[test]
fn payloads_become_what_their_route_says() {
    let table: &[(&str, &[u8], PayloadFormat, Value)] = &[
        (
            "an object",
            br#"{"a": {"b": [1, 2.5, true, null]}}"#,
            Auto,
            json!({"a": {"b": [1, 2.5, true, null]}}),
        ),
        ("a number", b"42", Auto, json!(42)),
        ("a negative number", b"-7", Auto, json!(-7)),
        ("the largest unsigned number", b"18446744073709551615", Auto, json!(u64::MAX)),
        (
            "a number beyond 64 bits becomes a float",
            b"123456789012345678901234567890",
            Auto,
            json!(1.234_567_890_123_456_8e29),
        ),
        ("a number beyond a float is no JSON, so text", b"1e999", Auto, json!("1e999")),
        ("white space around", b" \n{}\t", Auto, json!({})),
        ("escapes and NUL", br#""a\u0000b\n""#, Auto, json!("a\0b\n")),
        ("not JSON", b"hello", Auto, json!("hello")),
        ("broken JSON", br#"{"a": 1"#, Auto, json!(r#"{"a": 1"#)),
        ("JSON and more", b"{} {}", Auto, json!("{} {}")),
        ("empty", b"", Auto, json!("")),
        ("NUL bytes are text", b"a\0b", Auto, json!("a\0b")),
        ("invalid UTF-8 becomes bytes (base64)", b"\xff\xfe", Auto, json!("//4=")),
        ("text that looks like JSON", b"42", Text, json!("42")),
        ("empty text", b"", Text, json!("")),
        ("raw", b"{}", Raw, json!("e30=")),
        ("CBOR", &[0xa1, 0x61, b'a', 0x18, 42], Cbor, json!({"a": 42})),
        ("CBOR with a whole number as key", &[0xa1, 0x01, 0x20], Cbor, json!({"1": -1})),
        ("CBOR bytes", &[0x42, 1, 2], Cbor, json!("AQI=")),
        ("MessagePack", &[0x81, 0xa1, b'a', 42], MessagePack, json!({"a": 42})),
        ("MessagePack bytes", &[0xc4, 2, 1, 2], MessagePack, json!("AQI=")),
    ];
    for (name, bytes, format, wanted) in table {
        assert_eq!(read(bytes, *format).as_ref(), Ok(wanted), "{name}");
    }
}

#[test]
fn payloads_that_break_a_rule_are_refused() {
    let deep = "[".repeat(10_000);
    let nested = format!("{}{}", "[".repeat(65), "]".repeat(65));
    let table: &[(&str, &[u8], PayloadFormat)] = &[
        ("10,000 levels, unclosed", deep.as_bytes(), Json),
        ("10,000 levels where text would do, too", deep.as_bytes(), Auto),
        ("one level too deep", nested.as_bytes(), Auto),
        ("a key twice", br#"{"a": 1, "a": 2}"#, Auto),
        ("a key twice, deep inside", br#"[{"x": {"a": 1, "a": 1}}]"#, Json),
        ("not JSON", b"hello", Json),
        ("empty JSON", b"", Json),
        ("a number beyond a float", b"1e999", Json),
        ("NUL in JSON", b"\"a\0b\"", Json),
        ("invalid UTF-8 in JSON", b"\"\xff\"", Json),
        ("invalid UTF-8 in text", b"a\xff", Text),
        ("empty CBOR", b"", Cbor),
        ("cut CBOR", &[0xa1, 0x61], Cbor),
        ("CBOR and more", &[0x01, 0x01], Cbor),
        ("deep CBOR", &[0x81; 10_000], Cbor),
        ("a key twice in CBOR", &[0xa2, 0x61, b'a', 1, 0x61, b'a', 2], Cbor),
        ("empty MessagePack", b"", MessagePack),
        ("MessagePack and more", &[1, 1], MessagePack),
        ("deep MessagePack", &[0x91; 10_000], MessagePack),
        ("CBOR that promises 2^63 items", &[0x9b, 0x7f, 255, 255, 255, 255, 255, 255, 255], Cbor),
        ("MessagePack that promises 2^32 items", &[0xdd, 255, 255, 255, 255], MessagePack),
    ];
    for (name, bytes, format) in table {
        assert_eq!(class_of(bytes, *format), class::PAYLOAD_FORMAT, "{name}");
    }
}

#[test]
fn sixty_four_levels_pass() {
    let nested = format!("{}{}", "[".repeat(64), "]".repeat(64));
    assert!(read(nested.as_bytes(), Json).is_ok());
}

#[test]
fn a_depth_beyond_the_parsers_own_is_bounded_by_the_parser() {
    let nested = format!("{}{}", "[".repeat(130), "]".repeat(130));
    let deep = PayloadRules { max_depth: 10_000, ..rules(Json) };
    let payload = Payload::new(nested.into(), deep);
    assert_eq!(payload.decoded().unwrap_err(), PayloadError::TooDeep { limit: 127 });
}

#[test]
fn a_mebibyte_passes_and_one_byte_more_does_not() {
    let limit = 1024 * 1024;
    let text = |size: usize| Payload::new(Bytes::from(vec![b'x'; size]), rules(Auto));
    assert_eq!(text(limit).check(), Ok(()));
    assert_eq!(text(limit + 1).check(), Err(PayloadError::TooLarge { size: limit + 1, limit }));
}

#[test]
fn a_format_that_the_route_insists_on_is_checked_before_anything_asks() {
    let payload = |format| Payload::new(Bytes::from_static(b"hello"), rules(format));
    assert!(payload(Json).check().is_err());
    assert_eq!(payload(Text).check(), Ok(()));
    assert_eq!(payload(Auto).check(), Ok(()));
}

#[test]
fn refusals_never_quote_the_payload() {
    for bytes in [&br#"{"secret": hunter2}"#[..], b"hunter2", b"[\"hunter2\", \"hunter2\" 1]"] {
        let error = read(bytes, Json).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

fn path(path: &str) -> Vec<String> {
    path.split('.').map(str::to_owned).collect()
}

#[test]
fn fields_are_found_set_and_removed_by_path() {
    let mut payload =
        Payload::new(Bytes::from_static(br#"{"a": {"b": 1, "c": 2}, "d": 3}"#), rules(Auto));
    assert!(payload.field(&path("a.b")).unwrap().is_some());
    assert!(payload.field(&path("a.x")).unwrap().is_none());
    assert!(payload.field(&path("d.x")).unwrap().is_none());
    payload.remove(&path("a.b")).unwrap();
    payload.remove(&path("no.such")).unwrap();
    assert_eq!(payload.bytes().unwrap(), br#"{"a":{"c":2},"d":3}"#[..]);
    payload.set(&path("a.x.y"), Box::new(cel::common::types::CelBool::from(true))).unwrap();
    assert_eq!(payload.bytes().unwrap(), br#"{"a":{"c":2,"x":{"y":true}},"d":3}"#[..]);
}

#[test]
fn removing_what_is_not_there_keeps_the_very_bytes() {
    let text = br#"{ "b" : 1.0 , "a" : 2 }"#;
    let mut payload = Payload::new(Bytes::from_static(text), rules(Auto));
    payload.remove(&path("x")).unwrap();
    assert_eq!(payload.bytes().unwrap(), text[..]);
}

#[test]
fn a_changed_payload_keeps_its_format() {
    for (format, bytes) in [
        (Cbor, &[0xa2, 0x61, b'a', 1, 0x61, b'b', 2][..]),
        (MessagePack, &[0x82, 0xa1, b'a', 1, 0xa1, b'b', 2][..]),
        (Json, br#"{"a": 1, "b": 2}"#),
    ] {
        let mut payload = Payload::new(Bytes::copy_from_slice(bytes), rules(format));
        payload.remove(&path("a")).unwrap();
        let again = payload.bytes().unwrap();
        assert_eq!(read(&again, format).unwrap(), json!({"b": 2}), "{format:?}");
    }
}

#[test]
fn values_have_one_json_form() {
    let table = [
        ("'text'", "text"),
        ("b'\\x01\\x02'", "\u{1}\u{2}"),
        ("{'b': 1, 'a': [true, null, 2.5]}", r#"{"a":[true,null,2.5],"b":1}"#),
        ("{'t': timestamp('2026-01-02T03:04:05Z')}", r#"{"t":"2026-01-02T03:04:05Z"}"#),
        ("{'d': duration('90s')}", r#"{"d":"90s"}"#),
        ("{'d': duration('-1.5s')}", r#"{"d":"-1.5s"}"#),
        ("{'b': b'\\x01'}", r#"{"b":"AQ=="}"#),
        ("{1: 'one', true: 'yes'}", r#"{"1":"one","true":"yes"}"#),
        ("18446744073709551615u", "18446744073709551615"),
    ];
    for (source, wanted) in table {
        let program = cel::Program::compile(source).unwrap();
        let context = cel::Context::default();
        let value = cel::Value::resolve_val(program.expression(), &context).unwrap();
        assert_eq!(to_bytes(value.as_ref()).unwrap(), wanted.as_bytes(), "{source}");
    }
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9_f64).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(".{0,6}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_json_tree_survives_in_every_format(tree in tree()) {
        let json = serde_json::to_vec(&tree).unwrap();
        prop_assert_eq!(read(&json, Json).unwrap(), tree.clone());
        let mut cbor = Vec::new();
        ciborium::into_writer(&tree, &mut cbor).unwrap();
        prop_assert_eq!(read(&cbor, Cbor).unwrap(), tree.clone());
        let packed = rmp_serde::to_vec(&tree).unwrap();
        prop_assert_eq!(read(&packed, MessagePack).unwrap(), tree);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for format in [Auto, Json, Text, Raw, Cbor, MessagePack] {
            let outcome = read(&bytes, format);
            let malformed = matches!(outcome, Err(PayloadError::Malformed { .. }));
            prop_assert!(format != Auto || !malformed);
        }
    }
}
