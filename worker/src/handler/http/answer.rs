//! What an answer means, and what later handlers see of it.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use axum::http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use chrono::DateTime;
use routemq_crds::{table::PayloadRules, v1alpha1::PayloadFormat};

use super::client::{Called, MOST_BODY};
use crate::{
    outcome::{Failure, class},
    payload::Payload,
};

/// A service that asks for more patience than this is asked again all the same.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// Of a body that later handlers read. Levels.
const MOST_DEPTH: usize = 64;

/// 2xx is done, 408, 425, 429 and 5xx may pass, anything else never will.
pub(super) fn judge(called: &Called) -> Result<(), Failure> {
    let status = called.status;
    if status.is_success() {
        return Ok(());
    }
    let words = format!("the service answered {status}");
    if may_pass(status) {
        let pause = retry_after(&called.headers, SystemTime::now());
        return Err(Failure::transient(class::HTTP, words).not_before(pause));
    }
    let redirect = if status.is_redirection() {
        ", a redirect, which is not followed; write the address that it leads to"
    } else {
        ""
    };
    Err(Failure::permanent(class::HTTP, words + redirect))
}

fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error()
}

/// RFC 9110, 10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Duration {
    let text = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let pause = match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => DateTime::parse_from_rfc2822(text.trim())
            .ok()
            .and_then(|date| SystemTime::from(date).duration_since(now).ok())
            .unwrap_or_default(),
    };
    pause.min(LONGEST_PAUSE)
}

/// `status`, `headers` (lower case; several of a name joined by commas), `body` (decoded JSON; else text; else bytes).
pub(super) fn value(called: &Called) -> Result<cel::Value, Failure> {
    let rules =
        PayloadRules { format: PayloadFormat::Auto, max_bytes: MOST_BODY, max_depth: MOST_DEPTH };
    let body = Payload::new(called.body.clone(), rules).value().map_err(|error| {
        Failure::permanent(class::HTTP, "the service's answer cannot be read").with_source(error)
    })?;
    let mut headers: HashMap<String, String> = HashMap::new();
    for (name, value) in &called.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let all = headers.entry(name.as_str().to_owned()).or_default();
        let comma = if all.is_empty() { "" } else { ", " };
        all.extend([comma, &*value]);
    }
    let headers: HashMap<String, cel::Value> =
        headers.into_iter().map(|(name, value)| (name, value.into())).collect();
    let status = i64::from(called.status.as_u16());
    let fields: HashMap<&str, cel::Value> =
        HashMap::from([("status", status.into()), ("headers", headers.into()), ("body", body)]);
    Ok(fields.into())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use axum::http::{HeaderMap, HeaderValue};

    use super::retry_after;

    #[test]
    fn a_service_says_how_long_it_wants_to_be_left_alone() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_400);
        for (text, seconds) in [
            ("3", 3),
            (" 0 ", 0),
            ("Wed, 21 Oct 2015 07:28:00 GMT", 80),
            ("Wed, 21 Oct 2015 07:00:00 GMT", 0),
            ("86400", 300),
            ("soon", 0),
            ("-1", 0),
        ] {
            let headers = HeaderMap::from_iter([(
                "retry-after".parse().unwrap(),
                HeaderValue::from_static(text),
            )]);
            assert_eq!(retry_after(&headers, now), Duration::from_secs(seconds), "{text:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), Duration::ZERO);
    }
}
