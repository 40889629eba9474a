//! What tells that a MqttRoute's children changed: what matters wakes it, and what a reconcile looks at is kept in [`Sight`].

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        coordination::v1::Lease,
        core::v1::{ConfigMap, Pod, ServiceAccount},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{Role, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        reflector::ObjectRef,
        utils::{Backoff, StreamBackoff},
        watcher::{self, Event, watcher},
    },
};
use routemq_crds::v1alpha1::MqttRoute;
use serde::de::DeserializeOwned;

use crate::{
    names,
    sight::{Route, Sight, edited, hash_marks},
};

/// Seconds after which the server ends a quiet watch, so that a dead connection is noticed.
const QUIET: u32 = 45;

/// A child as a watch tells it.
pub(crate) trait Child: Resource<DynamicType = ()> {
    /// Which of those that are ours are watched.
    const FIELDS: &str = "";

    /// What of it concerns its MqttRoute: another number wakes it.
    fn concern(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.meta().resource_version.hash(&mut hasher);
        hasher.finish()
    }

    /// Keeps what a reconcile looks at.
    fn keep(&self, uid: &str, route: &Route, sight: &Sight) {
        sight.edits.put(route, uid.to_owned(), edited(self.meta()));
    }

    /// It is gone.
    fn lose(uid: &str, route: &Route, sight: &Sight) {
        sight.edits.remove(route, &uid.to_owned());
    }
}

impl Child for PartialObjectMeta<ConfigMap> {}
impl Child for PartialObjectMeta<ServiceAccount> {}
impl Child for PartialObjectMeta<Role> {}
impl Child for PartialObjectMeta<RoleBinding> {}
impl Child for PartialObjectMeta<PodDisruptionBudget> {}

impl Child for Deployment {
    fn keep(&self, uid: &str, route: &Route, sight: &Sight) {
        sight.edits.put(route, uid.to_owned(), edited(self.meta()));
        sight.deployments.put(route, uid.to_owned(), essence(self));
    }

    fn lose(uid: &str, route: &Route, sight: &Sight) {
        sight.edits.remove(route, &uid.to_owned());
        sight.deployments.remove(route, &uid.to_owned());
    }
}

/// What a status tells of a Deployment.
fn essence(deployment: &Deployment) -> Deployment {
    let spec = deployment.spec.as_ref();
    Deployment {
        metadata: ObjectMeta {
            generation: deployment.metadata.generation,
            ..ObjectMeta::default()
        },
        spec: spec
            .map(|spec| DeploymentSpec { replicas: spec.replicas, ..DeploymentSpec::default() }),
        status: deployment.status.clone(),
    }
}

/// One that is over (evicted, say) stays as a record and holds nothing: for the watch it is gone.
impl Child for PartialObjectMeta<Pod> {
    const FIELDS: &str = LIVING;

    fn keep(&self, uid: &str, route: &Route, sight: &Sight) {
        sight.pods.put(route, uid.to_owned(), self.name_any());
    }

    fn lose(uid: &str, route: &Route, sight: &Sight) {
        sight.pods.remove(route, &uid.to_owned());
    }
}

/// A worker renews its Lease every ten seconds, and that concerns nobody: marks, what it reports, and who holds it do.
impl Child for Lease {
    fn concern(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        hash_marks(&self.metadata, &mut hasher);
        self.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()).hash(&mut hasher);
        hasher.finish()
    }

    fn keep(&self, uid: &str, route: &Route, sight: &Sight) {
        let mut lease = self.clone();
        lease.metadata.managed_fields = None;
        sight.leases.put(route, uid.to_owned(), lease);
    }

    fn lose(uid: &str, route: &Route, sight: &Sight) {
        sight.leases.remove(route, &uid.to_owned());
    }
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

/// Pods that run, or may yet.
pub(crate) const LIVING: &str = "status.phase!=Failed,status.phase!=Succeeded";

/// The MqttRoutes whose children of this kind changed. A watch that fails holds up no other, and is told once.
pub(crate) fn changed<K, R>(api: Api<K>, sight: Sight) -> impl Stream<Item = ObjectRef<R>> + Send
where
    K: Child + Clone + DeserializeOwned + Debug + Send + 'static,
    R: Resource<DynamicType = ()> + 'static,
{
    let ours = config().labels("app.kubernetes.io/managed-by=routemq-operator").fields(K::FIELDS);
    let (mut known, mut failing) = (Known::new(sight), false);
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

/// The children as last seen, by uid: whose each is, and what of it concerned that.
struct Known {
    sight: Sight,
    children: HashMap<String, (Route, u64)>,
    /// Seen before the list that is being read; what is left at its end is gone.
    before: HashMap<String, (Route, u64)>,
}

impl Known {
    fn new(sight: Sight) -> Self {
        Self { sight, children: HashMap::new(), before: HashMap::new() }
    }

    /// Whom the event concerns.
    fn take<K: Child>(&mut self, event: Event<K>) -> Vec<Route> {
        match event {
            Event::Init => {
                self.before.extend(self.children.drain());
                Vec::new()
            }
            Event::Apply(child) | Event::InitApply(child) => self.see(&child),
            Event::Delete(child) => self.forget(&child),
            Event::InitDone => {
                let gone = std::mem::take(&mut self.before).into_iter();
                gone.map(|(uid, (route, _))| self.lose::<K>(&uid, route)).collect()
            }
        }
    }

    fn see<K: Child>(&mut self, child: &K) -> Vec<Route> {
        let uid = child.uid().unwrap_or_default();
        let last = self.children.remove(&uid).or_else(|| self.before.remove(&uid));
        // Whoever took owner and annotation away from a child of ours does not take it out of sight.
        let Some(route) =
            route_of(child.meta()).or_else(|| last.as_ref().map(|(route, _)| route.clone()))
        else {
            return Vec::new();
        };
        child.keep(&uid, &route, &self.sight);
        let concern = child.concern();
        let before = match last {
            Some((same, told)) if same == route => Some(told),
            Some((another, _)) => {
                K::lose(&uid, &another, &self.sight);
                None
            }
            None => None,
        };
        self.children.insert(uid, (route.clone(), concern));
        if before == Some(concern) { Vec::new() } else { vec![route] }
    }

    fn forget<K: Child>(&mut self, child: &K) -> Vec<Route> {
        let uid = child.uid().unwrap_or_default();
        let last = self.children.remove(&uid).or_else(|| self.before.remove(&uid));
        let route = last.map(|(route, _)| route).or_else(|| route_of(child.meta()));
        route.map(|route| self.lose::<K>(&uid, route)).into_iter().collect()
    }

    fn lose<K: Child>(&self, uid: &str, route: Route) -> Route {
        K::lose(uid, &route, &self.sight);
        route
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
    use serde_json::json;

    use super::*;

    type AnyPod = PartialObjectMeta<Pod>;

    /// A child of `devices`, as its watch tells it.
    fn child<K: Child + DeserializeOwned>(version: &str, note: &str) -> K {
        serde_json::from_value(
            json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {
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
        let mut known = Known::new(Sight::default());
        let rows = [("1", "a", true), ("2", "a", false), ("3", "b", true)];
        for (version, note, news) in rows {
            let event = Event::Apply(child::<Lease>(version, note));
            assert_eq!(told(&known.take(event)), news, "{version}");
        }
    }

    #[test]
    fn a_pod_that_changes_or_goes_is_told_of() {
        let mut known = Known::new(Sight::default());
        assert!(told(&known.take(Event::Apply(child::<AnyPod>("1", "a")))));
        assert!(told(&known.take(Event::Apply(child::<AnyPod>("2", "a")))));
        assert!(told(&known.take(Event::Delete(child::<AnyPod>("3", "a")))));
    }

    #[test]
    fn what_went_while_nobody_watched_is_told_by_the_next_list() {
        let mut known = Known::new(Sight::default());
        known.take(Event::Apply(child::<AnyPod>("1", "a")));
        assert!(!told(&known.take::<AnyPod>(Event::Init)));
        assert!(told(&known.take::<AnyPod>(Event::InitDone)));
    }

    #[test]
    fn a_list_that_says_nothing_new_tells_nobody() {
        let mut known = Known::new(Sight::default());
        known.take(Event::Apply(child::<AnyPod>("1", "a")));
        known.take::<AnyPod>(Event::Init);
        assert!(!told(&known.take(Event::InitApply(child::<AnyPod>("1", "a")))));
        assert!(!told(&known.take::<AnyPod>(Event::InitDone)));
    }

    #[test]
    fn a_child_that_lost_its_marks_is_still_told_of() {
        let mut known = Known::new(Sight::default());
        known.take(Event::Apply(child::<AnyPod>("1", "a")));
        let mut bare = child::<AnyPod>("2", "a");
        bare.annotations_mut().clear();
        assert!(told(&known.take(Event::Apply(bare))));
    }
}
