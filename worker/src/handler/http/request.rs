//! The request of one message.

use std::{
    fmt::Write as _,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::UNIX_EPOCH,
};

use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, uri::InvalidUri,
};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use http_body_util::Full;
use routemq_crds::table;

use crate::{
    engine::Shared,
    message::Message,
    outcome::{Failure, class},
};

/// An address with `{param}` placeholders after its host.
#[derive(Debug)]
pub(super) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Param(String),
}

impl Template {
    /// Of a URL that the compiler has checked.
    pub(super) fn new(url: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = url;
        while let Some((text, after)) = rest.split_once('{') {
            pieces.push(Piece::Text(encoded(text, stays_in_text)));
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            pieces.push(Piece::Param(name.to_owned()));
            rest = after;
        }
        pieces.push(Piece::Text(encoded(rest, stays_in_text)));
        Self { pieces }
    }

    /// With the message's params, percent-encoded: a value is never more than one level, and never climbs.
    fn render(&self, message: &Message) -> Result<Uri, Failure> {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(piece) => text += piece,
                Piece::Param(name) => {
                    let value = message.param(name).unwrap_or_default();
                    if matches!(value, "." | "..") {
                        let words = format!(
                            "the value of {{{name}}} is nothing but dots, which a path may not hold"
                        );
                        return Err(Failure::permanent(class::TEMPLATE, words));
                    }
                    text += &encoded(value, stays_in_value);
                }
            }
        }
        text.parse().map_err(|error: InvalidUri| {
            Failure::permanent(class::TEMPLATE, "the params do not give an address")
                .with_source(error)
        })
    }
}

/// RFC 3986, 2.3: unreserved.
fn stays_in_value(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Whatever may stand in a URL as it is.
fn stays_in_text(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

fn encoded(text: &str, stays: impl Fn(u8) -> bool) -> String {
    text.bytes().fold(String::new(), |mut text, byte| {
        if stays(byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

/// What is sent for a message.
pub(super) fn of(
    spec: &table::Http,
    url: &Template,
    message: &Message,
    shared: &Shared,
) -> Result<Request<Full<Bytes>>, Failure> {
    let method = Method::from_bytes(spec.method.as_bytes()).unwrap_or(Method::POST);
    let body = body(spec, &method, message, shared)?;
    let mut headers = HeaderMap::new();
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("routemq/", env!("CARGO_PKG_VERSION"))),
    );
    if !body.is_empty() {
        headers.insert(header::CONTENT_TYPE, content_type(spec, &body, message)?);
    }
    trace(message, &mut headers);
    if spec.cloud_events {
        cloud_event(message, shared, &mut headers)?;
    }
    for (name, at) in &spec.headers {
        headers.insert(named(name)?, value(name, &shared.evaluator.text(at, message)?)?);
    }
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = url.render(message)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// A GET or DELETE has a body only where the spec names one.
fn body(
    spec: &table::Http,
    method: &Method,
    message: &Message,
    shared: &Shared,
) -> Result<Bytes, Failure> {
    match &spec.body {
        Some(at) => shared.evaluator.bytes(at, message),
        None if matches!(*method, Method::GET | Method::DELETE) => Ok(Bytes::new()),
        None => Ok(message.payload().bytes()?),
    }
}

/// What the publisher said of its payload, else what it looks like.
fn content_type(
    spec: &table::Http,
    body: &Bytes,
    message: &Message,
) -> Result<HeaderValue, Failure> {
    let said = message.properties().and_then(|properties| properties.content_type.as_deref());
    if let (None, Some(said)) = (&spec.body, said) {
        return value("Content-Type", said);
    }
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok();
    Ok(HeaderValue::from_static(match (is_json, std::str::from_utf8(body)) {
        (true, _) => "application/json",
        (false, Ok(_)) => "text/plain; charset=utf-8",
        (false, Err(_)) => "application/octet-stream",
    }))
}

/// W3C trace context of the message goes on with it.
fn trace(message: &Message, headers: &mut HeaderMap) {
    let properties = message.properties().map(|it| it.user.as_slice()).unwrap_or_default();
    for name in ["traceparent", "tracestate"] {
        let found = properties.iter().find(|(key, _)| key == name);
        if let Some(Ok(value)) = found.map(|(_, value)| HeaderValue::from_str(value)) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// CloudEvents 1.0, HTTP binding 3.1 (binary mode). The id is the same at each attempt of one delivery.
fn cloud_event(message: &Message, shared: &Shared, headers: &mut HeaderMap) -> Result<(), Failure> {
    let received = message.received_at();
    let mut hasher = DefaultHasher::new();
    (message.topic(), message.original_payload()).hash(&mut hasher);
    let nanoseconds = received.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let id = format!("{nanoseconds:x}-{:016x}", hasher.finish());
    let time: DateTime<Utc> = received.into();
    let source = format!("/routemq/{}/{}", shared.worker, message.route());
    for (name, text) in [
        ("ce-specversion", "1.0".to_owned()),
        ("ce-id", id),
        ("ce-source", encoded(&source, in_attribute)),
        ("ce-type", "io.routemq.message".to_owned()),
        ("ce-subject", encoded(message.topic(), in_attribute)),
        ("ce-time", time.to_rfc3339_opts(SecondsFormat::Micros, true)),
    ] {
        headers.insert(HeaderName::from_static(name), value(name, &text)?);
    }
    Ok(())
}

/// HTTP binding 3.1.3.2: what stays as it is.
fn in_attribute(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"%".contains(&byte)
}

fn named(name: &str) -> Result<HeaderName, Failure> {
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        Failure::permanent(class::EXPRESSION, format!("{name:?} is no name of a header"))
    })
}

fn value(name: &str, text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|_| {
        let words = format!(
            "the value of the header {name} holds a line break or another control character"
        );
        Failure::permanent(class::EXPRESSION, words)
    })
}
