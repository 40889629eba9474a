//! Which dead letters: by id, route, class, age.

use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta, Utc};
use clap::Args;

/// Which dead letters; what is left out selects all.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Selection {
    /// These, by the number that `ls` shows
    #[arg(value_name = "ID")]
    pub(super) ids: Vec<i64>,
    /// Of this route
    #[arg(long, value_name = "NAME")]
    pub(super) route: Option<String>,
    /// Of this class of failure
    #[arg(long, value_name = "CLASS")]
    pub(super) class: Option<String>,
    /// At least so old: 90s, 15m, 6h, 7d
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(super) older_than: Option<Duration>,
    /// At most so old: 90s, 15m, 6h, 7d
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub(super) newer_than: Option<Duration>,
    /// Those that were replayed, instead of those that were not
    #[arg(long)]
    pub(super) replayed: bool,
    /// Both.
    #[arg(skip)]
    pub(super) whether_replayed_or_not: bool,
}

impl Selection {
    /// Whether it names nothing at all.
    pub(super) fn is_everything(&self) -> bool {
        let by_age = self.older_than.or(self.newer_than);
        self.ids.is_empty() && self.route.is_none() && self.class.is_none() && by_age.is_none()
    }

    /// A JSON list, or nothing where any will do.
    pub(super) fn ids(&self) -> Option<String> {
        (!self.ids.is_empty()).then(|| serde_json::json!(self.ids).to_string())
    }

    /// Whether it was replayed, or nothing where that does not matter.
    pub(super) fn replayed(&self) -> Option<bool> {
        (!self.whether_replayed_or_not).then_some(self.replayed)
    }

    /// Dead-lettered no later than.
    pub(super) fn latest(&self) -> Option<String> {
        self.older_than.map(ago)
    }

    /// Dead-lettered no earlier than.
    pub(super) fn earliest(&self) -> Option<String> {
        self.newer_than.map(ago)
    }
}

fn ago(age: Duration) -> String {
    let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
    let then = Utc::now().checked_sub_signed(age).unwrap_or_default();
    then.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// `90s`, `15m`, `6h`, `7d`.
fn age(text: &str) -> Result<Duration, String> {
    let wrong = || "write a number and a unit: 90s, 15m, 6h or 7d".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_and_a_unit() {
        let rows = [
            ("90s", Some(90)),
            ("15m", Some(900)),
            ("6h", Some(21_600)),
            ("7d", Some(604_800)),
            ("7", None),
            ("", None),
            ("d", None),
            ("-1h", None),
            ("1é", None),
            ("99999999999999999d", None),
        ];
        for (text, seconds) in rows {
            assert_eq!(age(text).ok(), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn an_age_beyond_time_itself_is_the_beginning() {
        assert!(ago(Duration::MAX).starts_with("1970") || ago(Duration::MAX).contains('T'));
    }
}
