//! What is subscribed to: the distinct filters, their identifiers, and which overlap.

use std::collections::{HashMap, HashSet};

use super::{
    field::Problems,
    patterns::Parsed,
    trie::{FilterTrie, Wanted},
};
use crate::{table::Filter, template::TopicTemplate, v1alpha1::MqttRouteSpec};

/// MQTT 5, 3.8.2.1.2.
const MAX_IDENTIFIER: u32 = 268_435_455;

/// Beyond what an object may have, in routers built in code: among so many some collide, and are parted.
const MOST_WITHOUT_COLLISION: usize = 256;

pub(super) struct Filters {
    /// Sorted; not marked yet: see [`Self::into_list`].
    list: Vec<Filter>,
    /// By route, which of them is its own; 0 where it has none.
    of_route: Vec<usize>,
}

/// The table's own filters, as a list and by level.
pub(super) struct Own<'a> {
    filters: &'a Filters,
    by_level: FilterTrie<'a>,
}

impl Filters {
    pub(super) fn own(&self) -> Own<'_> {
        let by_level = FilterTrie::new(self.list.iter().map(|own| own.filter.as_str()));
        Own { filters: self, by_level }
    }

    /// With the marks of those that overlap.
    pub(super) fn into_list(self, overlapping: Vec<bool>) -> Vec<Filter> {
        let marked = |(own, overlaps)| Filter { overlaps, ..own };
        self.list.into_iter().zip(overlapping).map(marked).collect()
    }
}

impl Own<'_> {
    /// The index of a route's filter.
    pub(super) fn of_route(&self, route: usize) -> usize {
        self.filters.of_route[route]
    }

    /// By filter: whether another one can match the same topic.
    pub(super) fn overlapping(&self) -> Vec<bool> {
        let shares = |(index, own): (usize, &Filter)| {
            let mut shares = false;
            self.by_level.find(&Wanted::of_filter(&own.filter), &mut |other| {
                shares |= other != index;
                shares
            });
            shares
        };
        self.filters.list.iter().enumerate().map(shares).collect()
    }

    /// The first filter that a rendering of `topic` can match.
    pub(super) fn first_match(&self, topic: &TopicTemplate) -> Option<&str> {
        let (list, mut first) = (&self.filters.list, None);
        self.by_level.find(&Wanted::of_shape(&topic.shape()), &mut |found| {
            if topic.can_match(&list[found].filter) {
                first = Some(first.map_or(found, |first: usize| first.min(found)));
            }
            false
        });
        first.map(|index| list[index].filter.as_str())
    }
}

pub(super) fn of(spec: &MqttRouteSpec, patterns: &[Parsed], problems: &mut Problems) -> Filters {
    let (mut list, of_route) = distinct(spec, patterns);
    if list.len() > MOST_WITHOUT_COLLISION {
        part(&mut list);
    }
    for (filter, other) in collisions(&list) {
        let same = |parsed: &Parsed| parsed.pattern().is_some_and(|it| it.filter() == filter);
        let index = patterns.iter().position(same).unwrap_or_default();
        problems.add(
            format!("spec.routes[{index}].topic"),
            format!(
                "the filters \"{filter}\" and \"{other}\" happen to have the same MQTT subscription identifier; write a level of one of them in another way"
            ),
        );
    }
    Filters { list, of_route }
}

/// The filters of the routes, each once and with the highest QoS of its routes; and by route, which is its own.
fn distinct(spec: &MqttRouteSpec, patterns: &[Parsed]) -> (Vec<Filter>, Vec<usize>) {
    let patterns = patterns.iter().enumerate();
    let filter = |(route, parsed): (usize, &Parsed)| Some((parsed.pattern()?.filter(), route));
    let mut filters: Vec<(String, usize)> = patterns.filter_map(filter).collect();
    filters.sort_unstable();
    let (mut list, mut of_route) = (Vec::<Filter>::new(), vec![0; spec.routes.len()]);
    for (filter, route) in filters {
        let qos = spec.routes[route].qos.and_then(|qos| u8::try_from(qos).ok()).unwrap_or(1);
        if let Some(same) = list.last_mut().filter(|before| before.filter == filter) {
            same.qos = same.qos.max(qos);
        } else {
            let identifier = own_identifier(&filter);
            list.push(Filter { filter, identifier, qos, overlaps: false });
        }
        of_route[route] = list.len() - 1;
    }
    list.shrink_to_fit();
    (list, of_route)
}

/// Filters whose identifier an earlier one has too. To give one of them another would make it depend on the rest of the table, while a
/// durable session carries the old one on: copies would be taken for those of another filter.
fn collisions(filters: &[Filter]) -> Vec<(&str, &str)> {
    let mut owners = HashMap::new();
    let later = filters.iter().filter_map(|it| {
        let owner = owners.insert(it.identifier, it.filter.as_str())?;
        Some((it.filter.as_str(), owner))
    });
    later.collect()
}

/// Gives each filter whose identifier is taken the next one that is free.
fn part(filters: &mut [Filter]) {
    let mut taken = HashSet::new();
    for filter in filters {
        while !taken.insert(filter.identifier) {
            filter.identifier = filter.identifier % MAX_IDENTIFIER + 1;
        }
    }
}

/// FNV-1a, 64 bits, folded into 1 to 268,435,455. Never changes: a durable session carries it on.
fn own_identifier(filter: &str) -> u32 {
    let hash = filter.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let folded = (hash ^ (hash >> 28) ^ (hash >> 56)) & u64::from(MAX_IDENTIFIER);
    u32::try_from(folded).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_depends_on_the_filter_alone_and_is_pinned() {
        assert_eq!(own_identifier("devices/+/status"), PINNED);
    }

    #[test]
    fn two_filters_of_one_identifier_are_found() {
        let filter = |text: String| Filter {
            identifier: own_identifier(&text),
            filter: text,
            qos: 1,
            overlaps: false,
        };
        // By the birthday paradox some 20,000 names are enough.
        let mut many: Vec<Filter> = (0..100_000).map(|i| filter(format!("c/{i}"))).collect();
        let (later, earlier) = {
            let (later, earlier) = collisions(&many)[0];
            (later.to_owned(), earlier.to_owned())
        };
        assert_eq!(own_identifier(&later), own_identifier(&earlier));
        part(&mut many);
        assert!(collisions(&many).is_empty());
        many.retain(|it| it.filter == later);
        assert_ne!(many[0].identifier, own_identifier(&earlier));
    }

    // Computed by another implementation of FNV-1a.
    const PINNED: u32 = 43_720_029;
}
