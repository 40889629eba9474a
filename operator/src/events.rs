//! Which Events a change of the conditions, or of a child, is worth.

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::runtime::events::{Event, EventType, Recorder};

/// Events hold at most 1,024 bytes of text.
const LONGEST: usize = 250;
/// Those that are told, the one that sums up first: what has the same cause is told once.
const TOLD: [&str; 5] = ["Ready", "Accepted", "ReferencesResolved", "Subscribed", "Degraded"];

/// One thing to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Whether somebody may have to act.
    pub warning: bool,
    /// CamelCase.
    pub reason: String,
    /// One sentence.
    pub note: String,
}

/// What differs, where it is bad or was; of `Ready` every other reason. Pure.
#[must_use]
pub fn news(before: &[Condition], after: &[Condition]) -> Vec<News> {
    let mut all: Vec<News> = Vec::new();
    for kind in TOLD {
        let find =
            |list: &[Condition]| list.iter().find(|condition| condition.type_ == kind).cloned();
        let (Some(now), last) = (find(after), find(before)) else { continue };
        if last
            .as_ref()
            .is_some_and(|last| (&last.status, &last.reason) == (&now.status, &now.reason))
        {
            continue;
        }
        let matters = kind == "Ready" || is_bad(&now) || last.as_ref().is_some_and(is_bad);
        let told = all.iter().any(|news| news.reason == now.reason);
        if matters && !told && now.status != "Unknown" {
            all.push(News { warning: is_bad(&now), reason: now.reason, note: now.message });
        }
    }
    all
}

fn is_bad(condition: &Condition) -> bool {
    let expected = if condition.type_ == "Degraded" { "False" } else { "True" };
    condition.status != expected && condition.status != "Unknown"
}

/// A child that somebody had changed was put back.
#[must_use]
pub fn reverted(route: &str, child: &str) -> News {
    News {
        warning: true,
        reason: "Reverted".to_owned(),
        note: format!(
            "{child} was changed by somebody else and is put back: change MqttRoute {route} instead (kubectl scale mqttroute/{route} for the number of workers)"
        ),
    }
}

/// Tells it. Best effort: the condition is what counts.
pub async fn publish(recorder: &Recorder, about: &ObjectReference, news: News) {
    let event = Event {
        type_: if news.warning { EventType::Warning } else { EventType::Normal },
        reason: news.reason,
        note: Some(news.note.chars().take(LONGEST).collect()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    if let Err(error) = recorder.publish(&event, about).await {
        tracing::debug!(%error, "event not written");
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

    use super::*;

    fn condition((kind, status, reason): (&str, &str, &str)) -> Condition {
        Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    #[test]
    fn what_turns_bad_or_good_is_told_once() {
        type Row<'a> = (
            &'a str,
            &'a [(&'a str, &'a str, &'a str)],
            &'a [(&'a str, &'a str, &'a str)],
            &'a [(bool, &'a str)],
        );
        let rows: [Row<'_>; 6] = [
            (
                "new and well",
                &[],
                &[
                    ("Accepted", "True", "Accepted"),
                    ("Degraded", "False", "AsPromised"),
                    ("Ready", "False", "Pending"),
                ],
                &[(true, "Pending")],
            ),
            (
                "refused: three conditions, one cause",
                &[],
                &[
                    ("Accepted", "False", "Invalid"),
                    ("Degraded", "True", "Invalid"),
                    ("Ready", "False", "Invalid"),
                ],
                &[(true, "Invalid")],
            ),
            (
                "degraded while ready",
                &[("Ready", "True", "Running")],
                &[("Degraded", "True", "DatabaseAway"), ("Ready", "True", "Running")],
                &[(true, "DatabaseAway")],
            ),
            (
                "no longer degraded",
                &[("Degraded", "True", "DatabaseAway")],
                &[("Degraded", "False", "AsPromised")],
                &[(false, "AsPromised")],
            ),
            (
                "nothing new",
                &[("Degraded", "True", "DatabaseAway")],
                &[("Degraded", "True", "DatabaseAway")],
                &[],
            ),
            (
                "not known is no news",
                &[("ReferencesResolved", "True", "Resolved")],
                &[("ReferencesResolved", "Unknown", "Waiting")],
                &[],
            ),
        ];
        for (name, before, after, expected) in rows {
            let conditions = |list: &[(&str, &str, &str)]| {
                list.iter().map(|row| condition(*row)).collect::<Vec<_>>()
            };
            let told = news(&conditions(before), &conditions(after));
            let told: Vec<_> =
                told.iter().map(|news| (news.warning, news.reason.as_str())).collect();
            assert_eq!(told, expected, "{name}");
        }
    }
}
