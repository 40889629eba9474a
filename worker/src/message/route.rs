//! What messages know of their route.

use std::sync::Arc;

use routemq_crds::{
    table::Route,
    topic::{Level, ParamKind},
};

/// What is known of a route by every message that belongs to it.
#[derive(Debug)]
pub struct RouteInfo {
    pub(crate) name: Arc<str>,
    pub(crate) params: Box<[ParamInfo]>,
    /// `as` names by handler index.
    pub(crate) results: Vec<Option<String>>,
}

/// One param of a route's pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParamInfo {
    pub(crate) name: String,
    pub(crate) kind: ParamKind,
}

impl RouteInfo {
    pub(crate) fn new(route: &Route) -> Self {
        Self {
            name: Arc::clone(&route.name),
            params: route.pattern.levels().iter().filter_map(ParamInfo::of).collect(),
            results: route.handlers.iter().map(|handler| handler.result_name.clone()).collect(),
        }
    }
}

impl ParamInfo {
    fn of(level: &Level) -> Option<Self> {
        match level {
            Level::Param { name, kind } => Some(Self { name: name.clone(), kind: *kind }),
            Level::Tail { name } => Some(Self { name: name.clone(), kind: ParamKind::Text }),
            Level::Literal(_) | Level::Any | Level::Rest => None,
        }
    }
}
