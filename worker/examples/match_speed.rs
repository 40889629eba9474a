//! Prints what a match costs: `cargo run --release -p routemq-worker --example match_speed`.

use std::{hint::black_box, time::Instant};

use routemq_crds::topic::Pattern;
use routemq_worker::router::{Captures, Matcher};

const ROUNDS: usize = 2_000_000;

fn main() {
    for count in [1_000, 10_000, 100_000] {
        let source = |i: usize| format!("site{}/device{i}/{{id}}/status", i % 100);
        let patterns: Vec<Pattern> =
            (0..count).filter_map(|i| Pattern::parse(&source(i)).ok()).collect();
        let matcher = Matcher::new(&patterns);
        let topics: Vec<String> = (0..4_096)
            .map(|_| fastrand::usize(0..count))
            .map(|i| format!("site{}/device{i}/{}/status", i % 100, fastrand::u32(..)))
            .collect();
        let mut captures = Captures::default();
        let started = Instant::now();
        let found = (0..ROUNDS)
            .filter(|round| {
                let topic = &topics[round % topics.len()];
                black_box(matcher.find(black_box(topic), &mut captures)).is_some()
            })
            .count();
        let each = started.elapsed().as_nanos() / ROUNDS as u128;
        println!("{count} patterns: {each} ns a match, {found} of {ROUNDS} found");
    }
}
