//! Topics that a careless matcher gets wrong, through broker, worker and database.

use std::{collections::BTreeSet, fmt::Write as _};

use routemq_tests::{Bed, Database, PATIENCE, ensure, eventually};
use rumqttc::v5::mqttbytes::QoS;

const TABLE: &str = "CREATE TABLE handled (topic LONGTEXT NOT NULL, route VARCHAR(40) NOT NULL)";

fn object(routes: &[(&str, &str)]) -> String {
    let mut text = "apiVersion: routemq.io/v1alpha1\nkind: MqttRoute\n\
        metadata: {name: topics, namespace: bed}\nspec:\n  routes:\n"
        .to_owned();
    for (name, topic) in routes {
        let _ = writeln!(
            text,
            "    - {{name: {name}, topic: \"{topic}\", handlers: [{{sql: {{table: handled, columns: {{topic: topic, route: route}}}}}}]}}"
        );
    }
    text
}

#[tokio::test]
async fn odd_topics_reach_the_route_that_the_rules_name_and_system_topics_none() {
    let bed = Bed::start(Database::mariadb().await).await;
    bed.rows().execute(TABLE).await;
    let routes =
        [("rest", "{rest...}"), ("one", "a/{x}"), ("plus", "a/+/b"), ("small", "case/{x}")];
    let _worker = bed.run(&object(&routes), 1).await;
    let longest = format!("l/{}", "x".repeat(65_533));
    let expected = [
        ("a//b", "plus"),
        ("a/x/b", "plus"),
        ("a/1", "one"),
        ("a/", "rest"),
        ("/a", "rest"),
        ("/", "rest"),
        ("a/x/b/", "rest"),
        ("😀/é", "rest"),
        ("a/\u{feff}", "one"),
        ("case/X", "small"),
        ("Case/X", "rest"),
        ("a/b c", "one"),
        ("a/'; DROP TABLE handled; --", "one"),
        ("a/%s\\n", "one"),
        (longest.as_str(), "rest"),
    ];
    let mut publisher = bed.client("publisher").await;
    for (topic, _) in expected {
        publisher.publish(topic, "1", QoS::AtLeastOnce).await;
    }
    let pairs: BTreeSet<String> =
        expected.iter().map(|(topic, route)| format!("{route} {topic}")).collect();
    eventually("each topic has its row", PATIENCE, async || {
        let rows = bed.rows().texts("SELECT DISTINCT CONCAT(route, ' ', topic) FROM handled").await;
        let rows: BTreeSet<String> = rows.into_iter().collect();
        ensure(rows == pairs, || format!("{rows:?}"))
    })
    .await;
    // mosquitto publishes to these every second; `{rest...}` begins with a wildcard, which never matches them.
    let system = "SELECT COUNT(*) FROM handled WHERE topic LIKE '$%'";
    assert_eq!(bed.rows().count(system).await, 0);
}
