//! What tells that a MqttRoute's children changed: metadata alone is watched, and only what matters is told.

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Resource,
    core::PartialObjectMeta,
    runtime::{
        reflector::ObjectRef,
        utils::{Backoff, StreamBackoff},
        watcher::{self, Event, watcher},
    },
};
use routemq_crds::v1alpha1::MqttRoute;
use serde::de::DeserializeOwned;

use crate::names;

/// Seconds after which the server ends a quiet watch, so that a dead connection is noticed.
const QUIET: u32 = 45;

/// What about a child concerns its MqttRoute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Concern {
    /// Every change.
    Everything,
    /// Labels, annotations, owners: a worker renews its Lease every ten seconds, and that concerns nobody.
    Marks,
}

/// How children and MqttRoutes are watched.
pub(crate) fn config() -> watcher::Config {
    watcher::Config::default().page_size(100).timeout(QUIET)
}

/// Pauses between attempts of a watch that fails: 0.5 s, 1 s … 8 s, so that an API server that is back is soon noticed.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
}

impl Pauses {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(8);
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next: Self::FIRST }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(Self::LONGEST);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// The MqttRoutes whose children of this kind changed. A watch that fails holds up no other, and is told once.
pub(crate) fn changed<K, R>(
    api: Api<PartialObjectMeta<K>>,
    concern: Concern,
) -> impl Stream<Item = ObjectRef<R>> + Send
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
    R: Resource<DynamicType = ()> + 'static,
{
    let ours = config().labels("app.kubernetes.io/managed-by=routemq-operator");
    let (mut known, mut failing) = (Known::new(concern), false);
    StreamBackoff::new(watcher(api, ours), Pauses::default())
        .map(move |event| match event {
            Ok(event) => {
                failing &= matches!(event, Event::Init);
                known.take(event)
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(kind = %K::kind(&()), %error, "watch failed, trying again");
                }
                Vec::new()
            }
        })
        .flat_map(stream::iter)
        .map(|route| ObjectRef::new(&route.name).within(&route.namespace))
}

/// A MqttRoute by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    namespace: String,
    name: String,
}

/// The children as last seen, by uid.
struct Known {
    concern: Concern,
    children: HashMap<String, (Route, u64)>,
    /// Seen before the list that is being read; what is left at its end is gone.
    before: HashMap<String, (Route, u64)>,
}

impl Known {
    fn new(concern: Concern) -> Self {
        Self { concern, children: HashMap::new(), before: HashMap::new() }
    }

    /// Whom the event concerns.
    fn take<K>(&mut self, event: Event<PartialObjectMeta<K>>) -> Vec<Route> {
        match event {
            Event::Init => {
                self.before.extend(self.children.drain());
                Vec::new()
            }
            Event::Apply(child) | Event::InitApply(child) => self.see(&child.metadata),
            Event::Delete(child) => self.forget(&child.metadata),
            Event::InitDone => self.before.drain().map(|(_, (route, _))| route).collect(),
        }
    }

    fn see(&mut self, child: &ObjectMeta) -> Vec<Route> {
        let uid = child.uid.clone().unwrap_or_default();
        let last = self.children.remove(&uid).or_else(|| self.before.remove(&uid));
        // Whoever took owner and annotation away from a child of ours does not take it out of sight.
        let Some(route) = route_of(child).or_else(|| last.as_ref().map(|(route, _)| route.clone()))
        else {
            return Vec::new();
        };
        let mark = self.mark(child);
        let same = last.as_ref() == Some(&(route.clone(), mark));
        self.children.insert(uid, (route.clone(), mark));
        if same { Vec::new() } else { vec![route] }
    }

    fn forget(&mut self, child: &ObjectMeta) -> Vec<Route> {
        let uid = child.uid.as_deref().unwrap_or_default();
        let last = self.children.remove(uid).or_else(|| self.before.remove(uid));
        last.map(|(route, _)| route).or_else(|| route_of(child)).into_iter().collect()
    }

    fn mark(&self, child: &ObjectMeta) -> u64 {
        let mut hasher = DefaultHasher::new();
        match self.concern {
            Concern::Everything => child.resource_version.hash(&mut hasher),
            Concern::Marks => {
                child.annotations.hash(&mut hasher);
                child.labels.hash(&mut hasher);
                for owner in child.owner_references.iter().flatten() {
                    owner.uid.hash(&mut hasher);
                }
            }
        }
        hasher.finish()
    }
}

/// The MqttRoute that a child belongs to: by its owner, or by the annotation that every child and pod has.
fn route_of(child: &ObjectMeta) -> Option<Route> {
    let owner = child.owner_references.iter().flatten().find(|owner| {
        owner.kind == MqttRoute::kind(&()) && owner.api_version.starts_with("routemq.io/")
    });
    let annotated = || child.annotations.as_ref()?.get(names::ROUTE_ANNOTATION).cloned();
    let name = owner.map(|owner| owner.name.clone()).or_else(annotated)?;
    Some(Route { namespace: child.namespace.clone()?, name })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
    use kube::ResourceExt as _;
    use serde_json::json;

    use super::*;

    /// A child of `devices`, as its watch tells it.
    fn child<K>(version: &str, note: &str) -> PartialObjectMeta<K> {
        serde_json::from_value(
            json!({"apiVersion": "v1", "kind": "PartialObjectMetadata", "metadata": {
                "name": "devices-0", "namespace": "fleet", "uid": "u", "resourceVersion": version,
                "annotations": {"routemq.io/route-name": "devices", "note": note},
            }}),
        )
        .unwrap()
    }

    fn told(routes: &[Route]) -> bool {
        match routes {
            [] => false,
            [route] => {
                assert_eq!((route.namespace.as_str(), route.name.as_str()), ("fleet", "devices"));
                true
            }
            more => panic!("{more:?}"),
        }
    }

    #[test]
    fn a_watch_that_fails_is_tried_again_within_ten_seconds_for_ever() {
        let mut pauses = Pauses::default();
        let first: Vec<_> = pauses.by_ref().take(6).map(|pause| pause.as_millis()).collect();
        assert_eq!(first, [500, 1000, 2000, 4000, 8000, 8000]);
        pauses.reset();
        assert_eq!(pauses.next(), Some(Pauses::FIRST));
    }

    #[test]
    fn a_renewed_lease_is_no_news_and_a_new_report_is() {
        let mut known = Known::new(Concern::Marks);
        let rows = [("1", "a", true), ("2", "a", false), ("3", "b", true)];
        for (version, note, news) in rows {
            let event = Event::Apply(child::<Lease>(version, note));
            assert_eq!(told(&known.take(event)), news, "{version}");
        }
    }

    #[test]
    fn a_pod_that_changes_or_goes_is_told_of() {
        let mut known = Known::new(Concern::Everything);
        assert!(told(&known.take(Event::Apply(child::<Pod>("1", "a")))));
        assert!(told(&known.take(Event::Apply(child::<Pod>("2", "a")))));
        assert!(told(&known.take(Event::Delete(child::<Pod>("3", "a")))));
    }

    #[test]
    fn what_went_while_nobody_watched_is_told_by_the_next_list() {
        let mut known = Known::new(Concern::Everything);
        known.take(Event::Apply(child::<Pod>("1", "a")));
        assert!(!told(&known.take::<Pod>(Event::Init)));
        assert!(told(&known.take::<Pod>(Event::InitDone)));
    }

    #[test]
    fn a_list_that_says_nothing_new_tells_nobody() {
        let mut known = Known::new(Concern::Everything);
        known.take(Event::Apply(child::<Pod>("1", "a")));
        known.take::<Pod>(Event::Init);
        assert!(!told(&known.take(Event::InitApply(child::<Pod>("1", "a")))));
        assert!(!told(&known.take::<Pod>(Event::InitDone)));
    }

    #[test]
    fn a_child_that_lost_its_marks_is_still_told_of() {
        let mut known = Known::new(Concern::Everything);
        known.take(Event::Apply(child::<Pod>("1", "a")));
        let mut bare = child::<Pod>("2", "a");
        bare.annotations_mut().clear();
        assert!(told(&known.take(Event::Apply(bare))));
    }
}
