use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{
    trie::{FilterTrie, Wanted},
    *,
};
use crate::{
    table::{Action, PayloadRules},
    topic::filters_overlap,
    v1alpha1::{self, PayloadFormat, SessionKind},
};

const DESIGN: &str = r"
apiVersion: routemq.io/v1alpha1
kind: MqttRoute
metadata: {name: devices, namespace: fleet}
spec:
  broker: {url: 'mqtts://mosquitto.mqtt.svc:8883', credentialsSecretRef: {name: mqtt-login}}
  database: {urlSecretRef: {name: telemetry-db, key: url}}
  workerCount: 3
  groups:
    - {name: devices, prefix: devices, middleware: [{log: {}}]}
    - name: admin
      parent: devices
      prefix: admin
      middleware:
        - apiKey: {secretRef: {name: device-keys, key: keys}, field: api_key}
  routes:
    - name: control
      group: devices
      topic: control/{device_id}
      middleware: [{rateLimit: {limit: 100, perSeconds: 60, key: params.device_id}}]
      handlers:
        - when: payload.command in ['restart', 'shutdown']
          publish:
            topic: devices/control/{device_id}/response
            payload: '{''status'': ''accepted'', ''command'': payload.command}'
        - sql:
            table: device_commands
            columns: {device_id: params.device_id, command: payload.command, received_at: message.receivedAt}
    - {name: firmware, group: admin, topic: 'firmware/{device_id}/{version:int}', qos: 2, handlers: [{log: {}}]}
  delivery:
    orderBy: params.device_id
    deadLetter: {topic: 'dead/{route}'}
";

fn object(yaml: &str) -> MqttRoute {
    serde_yaml::from_str(yaml).expect("a typed object")
}

#[test]
fn the_design_s_example_compiles() {
    let table = compile(&object(DESIGN)).expect("no problem");
    assert_eq!(table.share.as_deref(), Some("fleet.devices"));
    let sources: Vec<&str> = table.routes.iter().map(|route| route.pattern.source()).collect();
    assert_eq!(
        sources,
        ["devices/control/{device_id}", "devices/admin/firmware/{device_id}/{version:int}"]
    );
    assert_eq!(table.routes[1].middleware.len(), 2);
    assert_eq!(table.routes[1].qos, 2);
}

#[test]
fn routes_with_the_same_steps_share_them() {
    let yaml = "{groups: [{name: g, middleware: [{filter: {expression: message.retain}}]}], routes: [\
        {name: a, group: g, topic: a, handlers: [{log: {}}]}, {name: b, topic: b, handlers: [{log: {}}]}, \
        {name: c, group: g, topic: c, handlers: [{log: {}}]}, \
        {name: d, group: g, topic: d, middleware: [{log: {}}], handlers: [{log: {}}]}]}";
    let table = compile(&spec(yaml)).expect("no problem");
    let shared = |one: usize, other: usize| {
        Arc::ptr_eq(&table.routes[one].middleware, &table.routes[other].middleware)
    };
    assert_eq!([shared(0, 2), shared(0, 1), shared(0, 3)], [true, false, false]);
}

/// An object of this spec; `LONG` stands for an expression of 1,025 characters.
pub(super) fn spec(yaml: &str) -> MqttRoute {
    let long = format!("topic == \"{}\"", "x".repeat(1_014));
    let yaml = yaml.replace("LONG", &format!("'{long}'"));
    let yaml = format!(
        "apiVersion: routemq.io/v1alpha1\nkind: MqttRoute\nmetadata: {{name: t}}\nspec: {yaml}"
    );
    object(&yaml)
}

#[test]
fn a_groups_steps_are_compiled_for_each_route_where_they_name_its_params() {
    let group = |key: &str| {
        let step = format!("[{{rateLimit: {{limit: 1, perSeconds: 1, key: {key}}}}}]");
        let route = |name: &str| {
            format!(
                "{{name: {name}, group: g, topic: '{name}/{{{name}}}', handlers: [{{log: {{}}}}]}}"
            )
        };
        let (group, a, b) = (format!("{{name: g, middleware: {step}}}"), route("a"), route("b"));
        compile(&spec(&format!("{{groups: [{group}], routes: [{a}, {b}]}}")))
    };
    let routes = group("topic").expect("both have a topic").routes;
    assert!(Arc::ptr_eq(&routes[0].middleware, &routes[1].middleware));
    let problems = group("params.a").expect_err("one has no such param");
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(problem.to_string().contains("for route \"b\""), "{problem}");
}

#[test]
fn what_is_left_out_has_its_default() {
    let table =
        compile(&spec("{routes: [{name: a, topic: a, handlers: [{http: {url: 'https://h'}}]}]}"))
            .expect("no problem");
    let delivery = &table.delivery;
    assert_eq!((table.namespace.as_str(), table.share.as_deref()), ("default", Some("default.t")));
    assert_eq!((table.worker_count, table.paused, table.share_is_explicit), (1, false, false));
    assert_eq!(delivery.session, SessionKind::Durable);
    assert_eq!((delivery.session_expiry.as_secs(), delivery.receive_maximum), (3600, 1000));
    assert_eq!(
        (delivery.concurrency, delivery.timeout.as_secs(), delivery.max_attempts),
        (64, 30, 5)
    );
    assert!(delivery.order_by.is_none() && delivery.dead_letter.is_none());
    let route = &table.routes[0];
    let (format, max_bytes, max_depth) = (PayloadFormat::Auto, 1 << 20, 64);
    assert_eq!((route.qos, route.payload), (1, PayloadRules { format, max_bytes, max_depth }));
    let Action::Http(http) = &route.handlers[0].action else { panic!("not http") };
    assert_eq!(
        (http.method.as_str(), http.timeout.as_secs(), http.cloud_events),
        ("POST", 30, false)
    );
}

#[test]
fn a_plain_subscription_has_no_share() {
    let table =
        compile(&spec("{shared: false, routes: [{name: a, topic: a, handlers: [{log: {}}]}]}"));
    assert_eq!(table.expect("no problem").share, None);
}

#[test]
fn filters_are_distinct_sorted_and_know_what_overlaps() {
    let table = compile(&spec(
        "{routes: [
            {name: a, topic: 'x/{id:int}', qos: 0, handlers: [{log: {}}]},
            {name: b, topic: 'x/{id}', qos: 2, handlers: [{log: {}}]},
            {name: c, topic: 'x/#', handlers: [{log: {}}]},
            {name: d, topic: 'y/{id}', qos: 0, handlers: [{log: {}}]},
            {name: e, topic: '$SYS/#', handlers: [{log: {}}]},
            {name: f, topic: '+', handlers: [{log: {}}]}]}",
    ))
    .expect("no problem");
    let shown: Vec<_> =
        table.filters.iter().map(|f| (f.filter.as_str(), f.qos, f.overlaps)).collect();
    // `x/#` matches `x`, and so does `+`.
    assert_eq!(
        shown,
        [
            ("$SYS/#", 1, false),
            ("+", 1, true),
            ("x/#", 1, true),
            ("x/+", 2, true),
            ("y/+", 0, false)
        ]
    );
    assert_eq!(table.routes.iter().map(|r| r.filter).collect::<Vec<_>>(), [3, 3, 2, 4, 0, 1]);
}

/// Seconds of a debug build; the bar of a release build is one.
#[test]
fn a_hundred_thousand_routes_compile_without_the_square_of_their_number() {
    let route = |i: usize| v1alpha1::Route {
        name: format!("r{i}"),
        topic: format!("site{}/device{i}/{{id}}/status", i % 100),
        handlers: vec![v1alpha1::Handler {
            log: Some(v1alpha1::LogHandler::default()),
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut object = spec("{routes: []}");
    object.spec.routes = (0..100_000).map(route).collect();
    let started = Instant::now();
    let table =
        compile_within(&object, Limits { routes: 100_000, groups: 64 }).expect("no problem");
    assert_eq!(table.filters.len(), 100_000);
    println!("100,000 routes: {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

fn overlaps_by_pairs(filters: &[String], index: usize) -> bool {
    filters.iter().enumerate().any(|(i, f)| i != index && filters_overlap(f, &filters[index]))
}

proptest! {
    #[test]
    fn the_trie_finds_the_overlaps_that_pairs_have(
        filters in prop::collection::btree_set("([ab+]|\\$a|)(/[ab+]|/){0,3}(/#)?|#", 1..12),
    ) {
        let filters: Vec<String> = filters.into_iter().filter(|f| !f.is_empty()).collect();
        let trie = FilterTrie::new(filters.iter().map(String::as_str));
        for (index, filter) in filters.iter().enumerate() {
            let mut found = false;
            trie.find(&Wanted::of_filter(filter), &mut |other| { found |= other != index; found });
            prop_assert_eq!(found, overlaps_by_pairs(&filters, index), "{} in {:?}", filter, filters);
        }
    }
}
