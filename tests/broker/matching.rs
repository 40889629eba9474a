//! Our patterns against mosquitto's filters.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use routemq_crds::topic::{Level, Pattern, filter_matches};
use routemq_tests::{Mosquitto, MosquittoConfig};
use rumqttc::v5::mqttbytes::{QoS, v5::SubscribeReasonCode};

/// The same pairs each time: a failure is a failure for everybody.
const SEED: u64 = 20_260_913;

/// Levels that a careless matcher gets wrong: empty, regex characters, UTF-8, case, `$`, numbers.
const TOPIC_LEVELS: [&str; 14] =
    ["", "a", "A", "b", "a.b", ".*", "ä", "😀", "$x", "7", "-3", "1.5", "a b", "(a)"];
const WILD_LEVELS: [&str; 4] = ["+", "{p}", "{p:int}", "{p:float}"];

fn pick<'a>(random: &mut fastrand::Rng, from: &[&'a str]) -> &'a str {
    from[random.usize(..from.len())]
}

/// One to four levels. An empty topic does not exist.
fn topic(random: &mut fastrand::Rng) -> String {
    let levels = random.usize(1..=4);
    let levels: Vec<&str> = (0..levels).map(|_| pick(random, &TOPIC_LEVELS)).collect();
    let topic = levels.join("/");
    if topic.is_empty() { "/".to_owned() } else { topic }
}

/// A topic with some levels made wild and maybe a tail, so that it often matches something.
fn pattern(random: &mut fastrand::Rng) -> Option<Pattern> {
    let topic = topic(random);
    let mut levels: Vec<String> = topic.split('/').map(str::to_owned).collect();
    for (i, level) in levels.iter_mut().enumerate() {
        if random.u8(..3) == 0 {
            *level = pick(random, &WILD_LEVELS).replace('p', &format!("p{i}"));
        }
    }
    match random.u8(..6) {
        0 => levels.push("#".to_owned()),
        1 => levels.push("{rest...}".to_owned()),
        _ => {}
    }
    Pattern::parse(&levels.join("/")).ok()
}

/// Unlike `+`, a param takes no empty level, and a typed one only what parses.
fn params_accept(pattern: &Pattern, topic: &str) -> bool {
    pattern.levels().iter().zip(topic.split('/')).all(|(level, text)| match level {
        Level::Param { kind, .. } => kind.accepts(text),
        _ => true,
    })
}

#[tokio::test]
async fn patterns_match_what_mosquitto_delivers_for_their_filters() {
    let mut random = fastrand::Rng::with_seed(SEED);
    let patterns: BTreeMap<String, Pattern> = std::iter::repeat_with(|| pattern(&mut random))
        .take(400)
        .flatten()
        .map(|pattern| (pattern.source().to_owned(), pattern))
        .collect();
    let topics: BTreeSet<String> =
        std::iter::repeat_with(|| topic(&mut random)).take(200).collect();
    let delivered = deliver(&patterns, &topics).await;

    let mut matches = 0;
    for topic in &topics {
        for pattern in patterns.values() {
            let (filter, source) = (pattern.filter(), pattern.source());
            let broker = delivered.contains(&(filter.clone(), topic.clone()));
            assert_eq!(filter_matches(&filter, topic), broker, "{filter:?} and {topic:?}");
            let ours = broker && params_accept(pattern, topic);
            assert_eq!(pattern.matches(topic), ours, "{source:?} and {topic:?}");
            matches += usize::from(ours);
        }
    }
    assert!(patterns.len() > 200 && topics.len() > 100 && matches > 300, "{matches} matches");
}

/// Every (filter, topic) that mosquitto delivers: each filter is a subscription with an identifier of its own.
async fn deliver(
    patterns: &BTreeMap<String, Pattern>,
    topics: &BTreeSet<String>,
) -> BTreeSet<(String, String)> {
    let broker = Mosquitto::start(MosquittoConfig::default()).await;
    let filters: BTreeSet<String> = patterns.values().map(Pattern::filter).collect();
    let filters: Vec<String> = filters.into_iter().collect();
    let mut subscriber = broker.client("subscriber").await;
    for (i, filter) in filters.iter().enumerate() {
        let code = subscriber.try_subscribe(filter, QoS::AtLeastOnce, Some(i + 1)).await;
        assert!(matches!(code, SubscribeReasonCode::Success(_)), "{filter:?}: {code:?}");
    }
    let mut publisher = broker.client("publisher").await;
    for topic in topics {
        publisher.publish(topic, "", QoS::AtLeastOnce).await;
    }
    let mut delivered = BTreeSet::new();
    while let Some(received) = subscriber.receive(Duration::from_secs(1)).await {
        for identifier in &received.properties.subscription_identifiers {
            delivered.insert((filters[identifier - 1].clone(), received.topic.clone()));
        }
    }
    delivered
}
