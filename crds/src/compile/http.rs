//! `http` handlers.

use super::handlers::Step;
use crate::{
    table::{Action, Http},
    template::{Piece, pieces},
    v1alpha1::HttpHandler,
};

const METHODS: &[&str] = &["GET", "POST", "PUT", "PATCH", "DELETE"];

pub(super) fn compile(step: &mut Step<'_, '_>, given: &HttpHandler) -> Action {
    if let Some(fault) = url_fault(&given.url, step.context.params) {
        step.problems.add(step.field("http.url"), fault);
    }
    let method = given.method.as_deref().unwrap_or("POST").to_ascii_uppercase();
    if !METHODS.contains(&method.as_str()) {
        step.problems.add(
            step.field("http.method"),
            format!("\"{}\" is none of {}", method.escape_debug(), METHODS.join(", ")),
        );
    }
    let field = step.field("http.headers");
    let headers = step.problems.expressions(&field, &given.headers, &step.scope, header_fault);
    let field = step.field("http.body");
    let body = given.body.as_ref();
    let body = body.and_then(|source| step.problems.payload(&field, source, &step.scope));
    let timeout = step.timeout("http.timeoutSeconds", given.timeout_seconds);
    Action::Http(Box::new(Http {
        url: given.url.clone(),
        method,
        headers,
        body,
        timeout,
        cloud_events: given.cloud_events.unwrap_or(false),
    }))
}

fn url_fault(url: &str, params: &[&str]) -> Option<String> {
    let shown = url.escape_debug();
    let Some((scheme @ ("http" | "https"), rest)) = url.split_once("://") else {
        return Some(format!("\"{shown}\" must begin with https:// or http://"));
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.contains('@') {
        // The value holds a password: it is not repeated.
        return Some("holds a user or password; put them into a header".to_owned());
    }
    if host.contains(['{', '}']) {
        return Some(format!(
            "\"{shown}\" has a placeholder in its host; {{param}} may stand after the host only"
        ));
    }
    if host.is_empty() || host.starts_with(':') {
        return Some(format!("\"{shown}\" names no host; write {scheme}://HOST/PATH"));
    }
    if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some(format!("\"{shown}\" holds white space; remove it"));
    }
    let pieces = match pieces(url) {
        Ok(pieces) => pieces,
        Err(error) => return Some(error.to_string()),
    };
    pieces.into_iter().find_map(|piece| match piece {
        Piece::Placeholder(name) if !params.contains(&name) => {
            let hint = crate::suggest::hint(name, params.iter().copied());
            Some(format!("there is no param {{{name}}} in the route's pattern{hint}"))
        }
        Piece::Placeholder(_) | Piece::Text(_) => None,
    })
}

/// What belongs to the connection, not to the message.
const OWN_HEADERS: &[&str] =
    &["connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade"];

/// RFC 9110, 5.6.2: a token.
fn header_fault(name: &str) -> Option<String> {
    if OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Some(format!("\"{name}\" is set by the connection itself; take it away"));
    }
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    (name.is_empty() || !name.chars().all(token)).then(|| {
        format!("\"{}\" is no name of a header; use letters, digits and \"-\"", name.escape_debug())
    })
}
