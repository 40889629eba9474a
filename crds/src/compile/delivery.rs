//! `spec.delivery` and its defaults.

use super::{field::Problems, patterns::KnownParams};
use crate::{expression::Scope, table::Delivery, v1alpha1::MqttRouteSpec};

const SECONDS_OF_MQTT: i64 = 4_294_967_295;

pub(super) fn compile(
    spec: &MqttRouteSpec,
    params: &KnownParams,
    problems: &mut Problems,
) -> Delivery {
    let given = spec.delivery.clone().unwrap_or_default();
    let path = |field: &str| format!("spec.delivery.{field}");
    let everywhere: Vec<&str> = params.everywhere.iter().map(String::as_str).collect();
    let somewhere: Vec<&str> = params.somewhere.iter().map(String::as_str).collect();
    let scope = Scope { params: Some(&everywhere), optional_params: &somewhere, results: &[] };
    Delivery {
        session: given.session.unwrap_or_default(),
        session_expiry: problems.seconds(
            &path("sessionExpirySeconds"),
            given.session_expiry_seconds,
            3600,
            0..=SECONDS_OF_MQTT,
        ),
        receive_maximum: problems.number(
            path("receiveMaximum"),
            given.receive_maximum,
            1000,
            1..=65_535,
        ),
        concurrency: problems.number(path("concurrency"), given.concurrency, 64, 1..=10_000),
        order_by: given
            .order_by
            .and_then(|source| problems.expression(&path("orderBy"), &source, &scope)),
        timeout: problems.seconds(&path("timeoutSeconds"), given.timeout_seconds, 30, 1..=3600),
        max_attempts: problems.number(path("maxAttempts"), given.max_attempts, 5, 1..=100),
        dead_letter: given.dead_letter.map(|dead_letter| dead_letter.topic),
    }
}
