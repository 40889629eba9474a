//! Routes that publish what they receive: a message that comes back would go round for ever.

use super::{
    field::Problems,
    patterns::Parsed,
    trie::{FilterTrie, Wanted},
};
use crate::{
    table::{Action, Route},
    template::TopicTemplate,
    topic::{Level, ParamKind, Pattern, filter_covers},
    v1alpha1::MqttRouteSpec,
};

/// "What `from` publishes at `field` can be received by `to`."
struct Edge {
    from: usize,
    to: usize,
    field: String,
}

/// Refuses a publish that can lead back to its own route, directly or through others of the table.
/// A chain that ends is fine.
pub(super) fn check(
    spec: &MqttRouteSpec,
    patterns: &[Parsed],
    routes: &[Option<Route>],
    problems: &mut Problems,
) {
    let edges = edges(patterns, routes);
    let mut by_route: Vec<Vec<usize>> = vec![Vec::new(); routes.len()];
    for edge in &edges {
        by_route[edge.from].push(edge.to);
    }
    let name = |route: usize| spec.routes[route].name.as_str();
    for edge in &edges {
        let Some(way) = way_back(&by_route, edge.to, edge.from) else { continue };
        let names: Vec<&str> = way.iter().map(|route| name(*route)).collect();
        problems.add(
            &edge.field,
            match names.as_slice() {
                [own] => format!("route \"{own}\" receives what it publishes here, for ever; publish to a topic that it does not match"),
                names => format!(
                    "what is published here comes back to route \"{}\" through {}, for ever; publish to another topic",
                    name(edge.from),
                    names[..names.len() - 1].join(" → ")
                ),
            },
        );
    }
}

fn edges(patterns: &[Parsed], routes: &[Option<Route>]) -> Vec<Edge> {
    let routes = routes.iter().enumerate().filter_map(|(at, route)| Some((at, route.as_ref()?)));
    let mut publishing = routes.flat_map(|(at, route)| published(at, route)).peekable();
    if publishing.peek().is_none() {
        return Vec::new();
    }
    let parsed: Vec<(usize, &Pattern, String)> = patterns
        .iter()
        .enumerate()
        .filter_map(|(route, parsed)| parsed.pattern().map(|p| (route, p, p.filter())))
        .collect();
    let trie = FilterTrie::new(parsed.iter().map(|(_, _, filter)| filter.as_str()));
    let mut edges = Vec::new();
    for (from, field, topic) in publishing {
        let mut receivers = Vec::new();
        trie.find(&Wanted::of_shape(&topic.shape()), &mut |found| {
            receivers.extend(topic.can_match(&parsed[found].2).then_some(found));
            false
        });
        receivers.sort_by(|a, b| parsed[*a].1.compare_specificity(parsed[*b].1));
        for found in receivers {
            let (to, pattern, filter) = &parsed[found];
            edges.push(Edge { from, to: *to, field: field.clone() });
            if takes_all(pattern, filter, topic) {
                break;
            }
        }
    }
    edges
}

/// Whether every rendering goes to this pattern, so that less specific ones never see it.
fn takes_all(pattern: &Pattern, filter: &str, topic: &TopicTemplate) -> bool {
    let typed =
        |level: &Level| matches!(level, Level::Param { kind, .. } if *kind != ParamKind::Text);
    let shape = topic.shape();
    let published: Vec<&str> =
        shape.split('/').map(|l| if l.contains('\0') { "+" } else { l }).collect();
    !pattern.levels().iter().any(typed) && filter_covers(filter, &published.join("/"))
}

/// The topics that a route publishes to, each with the route's index and its field.
fn published(index: usize, route: &Route) -> impl Iterator<Item = (usize, String, &TopicTemplate)> {
    route.handlers.iter().enumerate().filter_map(move |(handler, compiled)| {
        let (field, topic) = match &compiled.action {
            Action::Publish(publish) => ("publish.topic", &publish.topic),
            Action::Reply { fallback_topic: Some(topic), .. } => ("reply.fallbackTopic", topic),
            _ => return None,
        };
        Some((index, format!("spec.routes[{index}].handlers[{handler}].{field}"), topic))
    })
}

/// The routes from `from` to `to`, both included, or `None`.
fn way_back(by_route: &[Vec<usize>], from: usize, to: usize) -> Option<Vec<usize>> {
    let mut came_from = vec![None; by_route.len()];
    let mut next = std::collections::VecDeque::from([from]);
    while let Some(at) = next.pop_front() {
        if at == to {
            let mut way = vec![to];
            while let Some(before) = came_from[*way.last()?].filter(|_| way.last() != Some(&from)) {
                way.push(before);
            }
            way.reverse();
            return Some(way);
        }
        for &further in &by_route[at] {
            if further != from && came_from[further].is_none() {
                came_from[further] = Some(at);
                next.push_back(further);
            }
        }
    }
    None
}
