use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    template::TopicTemplate,
    topic::Pattern,
    v1alpha1::rules::{self, Rule},
};

fn refuses(rule: &Rule, this: &Value) -> bool {
    let rule = ValidationRule { rule: rule.text.to_owned(), ..ValidationRule::default() };
    Rules::default().refusal(&rule, this).is_some()
}

/// A rule, what it lets through and what it refuses.
type Case = (Rule, Vec<Value>, Vec<Value>);

fn spec_cases() -> Vec<Case> {
    let routes = json!([{"name": "r", "group": "a"}]);
    vec![
        (
            rules::SHARED,
            vec![
                json!({"shared": true, "workerCount": 9}),
                json!({"shared": false, "workerCount": 1}),
            ],
            vec![json!({"shared": false, "workerCount": 2})],
        ),
        (
            rules::PARENTS,
            vec![json!({}), json!({"groups": [{"name": "a"}, {"name": "b", "parent": "a"}]})],
            vec![json!({"groups": [{"name": "b", "parent": "a"}]})],
        ),
        (
            rules::GROUPS,
            vec![
                json!({"routes": [{"name": "r"}]}),
                json!({"routes": routes, "groups": [{"name": "a"}]}),
            ],
            vec![json!({"routes": routes}), json!({"routes": routes, "groups": [{"name": "b"}]})],
        ),
        (
            rules::OWN_PARENT,
            vec![json!({"name": "a"}), json!({"name": "a", "parent": "b"})],
            vec![json!({"name": "a", "parent": "a"})],
        ),
    ]
}

fn text_cases() -> Vec<Case> {
    let texts = |texts: &[&str]| texts.iter().map(|text| json!(text)).collect::<Vec<_>>();
    vec![
        (
            rules::SHARE_NAME,
            texts(&["fleet.devices", "é"]),
            texts(&["a/b", "a+", "#", "a\u{0}", ""]),
        ),
        (rules::NAME, texts(&["a", "a-1"]), texts(&["A", "a_b", "-a", "a-", "a.b"])),
        (rules::OBJECT_NAME, texts(&["a", "a.b-c"]), texts(&["a..b", ".a", "a-.b", "A"])),
        (rules::DATA_KEY, texts(&["tls.crt", "A_b-c"]), texts(&["a/b", "a b"])),
        (rules::IDENTIFIER, texts(&["a", "_a1"]), texts(&["1a", "a-b", "a.b"])),
        (rules::TABLE, texts(&["t", "s.t"]), texts(&["a.b.c", ".t", "t;", "1t"])),
        (
            rules::TOPIC,
            texts(&["a", "/a", "a//", "{id}", "a/{n:int}/+", "{r...}", "a/#", "#", "$SYS/x"]),
            texts(&["a/#/b", "{r...}/a", "dev-{id}", "a+", "{n:date}", "{1}", "{}", "a}"]),
        ),
        (
            rules::PREFIX,
            texts(&["a", "a/{id:uuid}", "+/a", "a/"]),
            texts(&["a/#", "{r...}", "x{id}"]),
        ),
        (
            rules::PUBLISH_TOPIC,
            texts(&["a/b", "a-{id}/b", "dead/{route}"]),
            texts(&["a/+", "#", "{id", "{id:int}", "{r...}"]),
        ),
    ]
}

fn url_cases() -> Vec<Case> {
    let urls = |urls: &[&str]| urls.iter().map(|url| json!({ "url": url })).collect::<Vec<_>>();
    vec![
        (
            rules::BROKER_URL,
            urls(&["mqtt://h", "wss://h:8084/mqtt?x=y", "mqtts://[::1]:8883"]),
            urls(&["tcp://h", "mqtt://", "mqtt://u:p@h", "h:1883", "mqtt://a b"]),
        ),
        (
            rules::HTTP_URL,
            urls(&["http://h", "https://h:1/a/{id}?q={x}"]),
            urls(&["ftp://h", "https://{h}/a", "https://u:p@h/", "https://h/a#b", "h"]),
        ),
    ]
}

fn entry_cases() -> Vec<Case> {
    vec![
        (
            rules::RESERVED,
            vec![json!({}), json!({"team": "fleet"})],
            vec![json!({"team": "fleet", "routemq.io/route": "x"})],
        ),
        (
            rules::ONE_MIDDLEWARE,
            vec![
                json!({"log": {}}),
                json!({"custom": {"name": "x"}}),
                json!({"timeout": {"seconds": 1}}),
            ],
            vec![json!({}), json!({"log": {}, "filter": {"expression": "true"}})],
        ),
        (
            rules::ONE_HANDLER,
            vec![json!({"log": {}, "when": "true", "as": "x"}), json!({"http": {}})],
            vec![json!({"when": "true"}), json!({"sql": {}, "reply": {}})],
        ),
        (
            rules::KEY_SOURCE,
            vec![json!({"field": "a"}), json!({"userProperty": "a"})],
            vec![json!({}), json!({"field": "a", "userProperty": "a"})],
        ),
        (
            rules::SCHEMA_SOURCE,
            vec![json!({"schema": {}}), json!({"configMapRef": {}})],
            vec![json!({}), json!({"schema": {}, "configMapRef": {}})],
        ),
        (
            rules::TRANSFORM,
            vec![json!({"set": {"a": "1"}}), json!({"remove": ["a"]})],
            vec![json!({})],
        ),
        (
            rules::BROKER_TLS,
            vec![
                json!({"tls": {}}),
                json!({"tls": {}, "url": "wss://h"}),
                json!({"url": "mqtt://h"}),
            ],
            vec![json!({"tls": {}, "url": "mqtt://h"}), json!({"tls": {}, "url": "ws://h"})],
        ),
    ]
}

fn sql_cases() -> Vec<Case> {
    let insert = json!({"table": "t", "columns": {"a": "1"}});
    let statement = json!({"statement": "DELETE FROM t"});
    let update = json!({"table": "t", "columns": {"a": "1"}, "onConflict": "Update"});
    let both = json!({"table": "t", "statement": "DELETE FROM t"});
    let keyed = json!({"statement": "DELETE FROM t", "key": ["a"]});
    let bound = json!({"table": "t", "columns": {"a": "1"}, "binds": {"a": "1"}});
    let sound = vec![insert, statement];
    vec![
        (rules::SQL_FORM, sound.clone(), vec![json!({}), both]),
        (
            rules::SQL_COLUMNS,
            sound.clone(),
            vec![json!({"table": "t"}), json!({"columns": {"a": "1"}})],
        ),
        (rules::SQL_STATEMENT, sound.clone(), vec![keyed]),
        (rules::SQL_BINDS, sound.clone(), vec![bound]),
        (rules::SQL_KEY, sound, vec![update]),
    ]
}

#[test]
fn each_rule_lets_through_what_is_sound_and_refuses_what_is_not() {
    let cases: Vec<Case> = [spec_cases(), text_cases(), url_cases(), entry_cases(), sql_cases()]
        .into_iter()
        .flatten()
        .collect();
    for (rule, sound, broken) in &cases {
        for this in sound {
            assert!(!refuses(rule, this), "{} refuses {this}", rule.text);
        }
        for this in broken {
            assert!(refuses(rule, this), "{} lets {this} through", rule.text);
        }
    }
    let without: Vec<_> = rules::ALL
        .iter()
        .filter(|rule| !cases.iter().any(|(case, ..)| case.text == rule.text))
        .collect();
    assert!(without.is_empty(), "rules without a case: {without:#?}");
}

proptest! {
    /// Otherwise `routemq check` would pass what `kubectl apply` refuses.
    #[test]
    fn what_the_compiler_takes_as_a_pattern_the_schema_takes(
        source in "([a+#{}:.$/é]|\\{[a-z_]{1,3}(:int|:uuid|\\.\\.\\.)?\\}|/){1,12}"
    ) {
        if Pattern::parse(&source).is_ok() {
            prop_assert!(!refuses(&rules::TOPIC, &json!(source)), "{source}");
        }
    }

    #[test]
    fn what_the_compiler_takes_as_a_topic_the_schema_takes(
        source in "([a+#{}$/é]|\\{[ab]\\}|/){1,12}"
    ) {
        if TopicTemplate::parse(&source, "route", &["a", "b"]).is_ok() {
            prop_assert!(!refuses(&rules::PUBLISH_TOPIC, &json!(source)), "{source}");
        }
    }
}
