//! The patterns of all routes, before anything else of them: filters, loops and `orderBy` need them.

use std::collections::HashSet;

use super::groups::Groups;
use crate::{
    topic::{Pattern, PatternError, join},
    v1alpha1::{MqttRouteSpec, Route},
};

/// Characters of one route's topic.
const MAX_TOPIC: usize = 512;

/// What became of a route's topic.
pub(super) enum Parsed {
    Pattern(Pattern),
    Refused(PatternError),
    /// Its group is missing or refused, which is told there.
    NoGroup,
}

impl Parsed {
    pub(super) fn pattern(&self) -> Option<&Pattern> {
        match self {
            Self::Pattern(pattern) => Some(pattern),
            Self::Refused(_) | Self::NoGroup => None,
        }
    }
}

pub(super) fn of(spec: &MqttRouteSpec, groups: &Groups<'_>) -> Vec<Parsed> {
    spec.routes.iter().map(|route| parse(route, groups)).collect()
}

fn parse(route: &Route, groups: &Groups<'_>) -> Parsed {
    let Some(chain) = route.group.as_deref().map_or(Some(Vec::new()), |name| groups.chain(name))
    else {
        return Parsed::NoGroup;
    };
    let prefixes = chain.iter().map(|index| groups.get(*index).prefix.as_deref());
    let parts = prefixes.flatten().chain([route.topic.as_str()]);
    match check_own(route).and_then(|()| Pattern::parse(&join(parts))) {
        Ok(pattern) => Parsed::Pattern(pattern),
        Err(error) => Parsed::Refused(error),
    }
}

/// What joining would hide.
fn check_own(route: &Route) -> Result<(), PatternError> {
    let length = route.topic.chars().count();
    let message = match length {
        0 => "the topic is empty; write at least one level, such as \"status\"".to_owned(),
        1..=MAX_TOPIC => return Ok(()),
        _ => format!(
            "the topic has {length} characters; at most {MAX_TOPIC} are allowed; shorten it"
        ),
    };
    Err(PatternError { message })
}

/// The params of the routes, for expressions that run on the messages of all of them.
pub(super) struct KnownParams {
    /// Every route has them.
    pub(super) everywhere: Vec<String>,
    /// Some routes have them.
    pub(super) somewhere: Vec<String>,
}

pub(super) fn known_params(patterns: &[Parsed]) -> KnownParams {
    let mut sets = patterns
        .iter()
        .filter_map(Parsed::pattern)
        .map(|pattern| pattern.params().into_iter().collect::<HashSet<_>>());
    let first = sets.next().unwrap_or_default();
    let (mut all, mut any) = (first.clone(), first);
    for set in sets {
        all.retain(|name| set.contains(name));
        any.extend(set);
    }
    let sorted = |names: &mut dyn Iterator<Item = &&str>| {
        let mut names: Vec<String> = names.map(|name| (*name).to_owned()).collect();
        names.sort();
        names
    };
    KnownParams {
        somewhere: sorted(&mut any.difference(&all)),
        everywhere: sorted(&mut all.iter()),
    }
}
