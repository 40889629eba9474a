//! What custom code brings: state, middleware and handlers by name.

use std::{
    any::{Any, TypeId, type_name},
    collections::BTreeMap,
    fmt,
    sync::Arc,
};

use foldhash::HashMap;

use crate::{
    handler::custom::{DynHandler, Erased, Handler},
    middleware::custom::{DynMiddleware, Middleware},
};

/// Names that specs refer to with `custom: {name}`, and the state that handlers share.
///
/// ```
/// use routemq_worker::{Registry, extract::{Params, State}};
///
/// struct Fleet { region: String }
///
/// async fn greet(State(fleet): State<Fleet>, Params(device): Params<String>) {
///     println!("{device} of {}", fleet.region);
/// }
///
/// let registry = Registry::new().state(Fleet { region: "north".into() }).handler("greet", greet);
/// assert_eq!(registry.handler_names().collect::<Vec<_>>(), ["greet"]);
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    states: States,
    handlers: BTreeMap<String, Arc<dyn DynHandler>>,
    middleware: BTreeMap<String, Arc<dyn DynMiddleware>>,
}

/// One shared value per type.
#[derive(Clone, Default)]
pub struct States {
    values: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Shares `value` with every handler that asks for `State<T>`. A later value of the same type wins.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states.values.insert(TypeId::of::<T>(), Arc::new(value));
        self
    }

    /// Registers a handler; see [`crate::handler`].
    #[must_use]
    pub fn handler<A: 'static>(
        mut self,
        name: impl Into<String>,
        handler: impl Handler<A>,
    ) -> Self {
        self.handlers.insert(name.into(), Arc::new(Erased::new(handler)));
        self
    }

    /// Registers a middleware; see [`crate::middleware::from_fn`].
    #[must_use]
    pub fn middleware(mut self, name: impl Into<String>, middleware: impl Middleware) -> Self {
        self.middleware.insert(name.into(), Arc::new(middleware));
        self
    }

    /// With everything of `other`, which wins where both have the same.
    #[must_use]
    pub(crate) fn merged(mut self, other: &Self) -> Self {
        let own = |(name, it): (&String, &Arc<_>)| (name.clone(), Arc::clone(it));
        self.handlers.extend(other.handlers.iter().map(own));
        let own = |(name, it): (&String, &Arc<_>)| (name.clone(), Arc::clone(it));
        self.middleware.extend(other.middleware.iter().map(own));
        self.states.values.extend(other.states.values.iter().map(|(k, v)| (*k, Arc::clone(v))));
        self
    }

    /// The registered handlers, sorted.
    pub fn handler_names(&self) -> impl Iterator<Item = &str> {
        self.handlers.keys().map(String::as_str)
    }

    /// The registered middleware, sorted.
    pub fn middleware_names(&self) -> impl Iterator<Item = &str> {
        self.middleware.keys().map(String::as_str)
    }

    pub(crate) fn find_handler(&self, name: &str) -> Option<&Arc<dyn DynHandler>> {
        self.handlers.get(name)
    }

    pub(crate) fn find_middleware(&self, name: &str) -> Option<&Arc<dyn DynMiddleware>> {
        self.middleware.get(name)
    }

    pub(crate) fn states(&self) -> &States {
        &self.states
    }
}

impl States {
    /// The value of type `T`, where one is registered.
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        Arc::clone(self.values.get(&TypeId::of::<T>())?).downcast().ok()
    }

    /// The name of `T`, where no value of it is registered.
    pub fn missing<T: Send + Sync + 'static>(&self) -> Option<&'static str> {
        (!self.values.contains_key(&TypeId::of::<T>())).then(type_name::<T>)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("states", &self.states)
            .field("handlers", &self.handlers.keys())
            .field("middleware", &self.middleware.keys())
            .finish()
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "States({})", self.values.len())
    }
}
