//! The steps before the handlers of each route, compiled once and kept once where routes have the same.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{field::Problems, groups::Groups, middleware, routes::Context};
use crate::{table::Middleware, v1alpha1::Route};

/// Different chains that are looked through for one that is there already.
const MOST: usize = 8;

/// The chains of one table.
#[derive(Default)]
pub(super) struct Chains<'a> {
    /// By group, where its steps are the same for each of its routes: nothing is wrong with them, and no expression names a param.
    of_groups: HashMap<Option<&'a str>, Arc<[Middleware]>>,
    /// The last few that were different, the newest last.
    recent: VecDeque<Arc<[Middleware]>>,
}

impl<'a> Chains<'a> {
    /// The chain of a route: its groups' steps from the outermost on, then its own.
    pub(super) fn of(
        &mut self,
        context: &Context<'_>,
        route: &'a Route,
        groups: &Groups<'_>,
        problems: &mut Problems,
    ) -> Arc<[Middleware]> {
        let known = self.of_groups.get(&route.group.as_deref());
        let mut steps = match known {
            Some(steps) if route.middleware.is_empty() => return Arc::clone(steps),
            Some(steps) => steps.to_vec(),
            None => self.of_group(context, route, groups, problems),
        };
        middleware::own(context, route, &mut steps, problems);
        self.shared(steps)
    }

    fn of_group(
        &mut self,
        context: &Context<'_>,
        route: &'a Route,
        groups: &Groups<'_>,
        problems: &mut Problems,
    ) -> Vec<Middleware> {
        let before = problems.count();
        let steps = middleware::of_groups(context, route, groups, problems);
        if problems.count() == before && !steps.iter().any(Middleware::uses_params) {
            let kept = self.shared(steps.clone());
            self.of_groups.insert(route.group.as_deref(), kept);
        }
        steps
    }

    fn shared(&mut self, chain: Vec<Middleware>) -> Arc<[Middleware]> {
        if let Some(known) = self.recent.iter().rev().find(|known| known[..] == chain[..]) {
            return Arc::clone(known);
        }
        let chain: Arc<[Middleware]> = chain.into();
        if self.recent.len() == MOST {
            self.recent.pop_front();
        }
        self.recent.push_back(Arc::clone(&chain));
        chain
    }
}
