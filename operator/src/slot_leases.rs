//! The slots of one MqttRoute on the API server: read, planned, written.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
};
use routemq_crds::report::WorkerReport;
use serde_json::{Value, json};

use crate::{
    apply::{ApplyError, require_ours},
    build::slot_lease,
    metrics::Metrics,
    names,
    sight::Sight,
    slots::{Holder, Plan, Slot, plan, plan_of_deletion},
    validate::Validated,
    watch::LIVING,
};

/// The slots after this reconcile, and what their holders report.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    /// Every index that has a Lease, sorted.
    pub indices: Vec<u32>,
    /// Of held slots that do not retire.
    pub reports: Vec<WorkerReport>,
}

/// Why the slots could not be brought to what is wanted.
#[derive(Debug, thiserror::Error)]
pub enum SlotsError {
    /// The API server refused a request.
    #[error("{verb} the slots' Leases")]
    Request {
        /// What was asked for.
        verb: &'static str,
        /// Why not.
        #[source]
        source: kube::Error,
    },
    /// A Lease of a slot's name is not this MqttRoute's own: workers must get no right to it.
    #[error(transparent)]
    NotOurs(#[from] ApplyError),
}

fn failed(verb: &'static str) -> impl FnOnce(kube::Error) -> SlotsError {
    move |source| SlotsError::Request { verb, source }
}

/// Brings the number of active slots to `wanted`. Leases and pods are read only where `sight` shows that something is to be done:
/// a pod may have taken a Lease that is seen before the pod is, so what is done is decided by Leases that were read before the pods were.
///
/// # Errors
/// The first request that the API server refuses, but for lost races, which the next reconcile sees again.
pub(crate) async fn settle(
    client: &Client,
    metrics: &Metrics,
    sight: &Sight,
    route: &Validated,
) -> Result<Slots, SlotsError> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), &route.namespace);
    let seen = seen(sight, route);
    let (writer, plan) =
        (Writer { leases: &leases, metrics, route, found: &seen.leases }, seen.plan());
    if writer.has_nothing_to_do(&plan) {
        return Ok(seen.slots(&plan));
    }
    let look = look(client, &leases, route).await?;
    let plan = look.plan();
    Writer { leases: &leases, metrics, route, found: &look.leases }.carry_out(&plan).await?;
    Ok(look.slots(&plan))
}

/// A MqttRoute's slots.
struct Look<'a> {
    route: &'a Validated,
    leases: Vec<Lease>,
    /// Of each of `leases`.
    states: Vec<Slot>,
}

impl<'a> Look<'a> {
    /// At Leases of its own.
    fn new(route: &'a Validated, leases: Vec<Lease>, pods: &BTreeSet<String>) -> Self {
        let states = leases.iter().filter_map(|lease| observe(route, lease, pods)).collect();
        Self { route, leases, states }
    }

    /// What is to be done.
    fn plan(&self) -> Plan {
        let table = &self.route.table;
        let keep = table.paused || table.worker_count == 0;
        plan(&self.states, table.worker_count, keep)
    }

    /// Once `plan` is carried out.
    fn slots(&self, plan: &Plan) -> Slots {
        let reports = reports(&self.leases, &self.states, self.route);
        Slots { indices: after(&self.states, plan), reports }
    }
}

/// As the API server has them.
async fn look<'a>(
    client: &Client,
    leases: &Api<Lease>,
    route: &'a Validated,
) -> Result<Look<'a>, SlotsError> {
    let found = own_leases(leases, route).await?;
    let pods = living_pods(client, route).await?;
    Ok(Look::new(route, found, &pods))
}

/// As the watches have them.
fn seen<'a>(sight: &Sight, route: &'a Validated) -> Look<'a> {
    let key = route.key();
    let mut leases = sight.leases.of(&key);
    leases.retain(|lease| is_ours(route, lease));
    // As a list is sorted.
    leases.sort_by_key(ResourceExt::name_any);
    Look::new(route, leases, &sight.pods.of(&key).into_iter().collect())
}

/// What is left of a MqttRoute that is being deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Sessions that are not drained yet: slots that were held at some time.
    pub sessions: usize,
    /// Of those: held by a pod that lives, and can drain them.
    pub attended: usize,
}

/// Marks every slot of a MqttRoute to retire, while its workers still run, and deletes those whose session has ended.
///
/// # Errors
/// The first request that the API server refuses, but for lost races, which the next reconcile sees again.
pub async fn wind_up(
    client: &Client,
    metrics: &Metrics,
    route: &Validated,
) -> Result<Left, SlotsError> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), &route.namespace);
    let look = look(client, &leases, route).await?;
    let writer = Writer { leases: &leases, metrics, route, found: &look.leases };
    writer.carry_out(&plan_of_deletion(&look.states)).await?;
    let used = look.leases.iter().zip(&look.states).filter(|(lease, _)| was_held(lease));
    let left = used.map(|(_, slot)| slot).filter(|slot| !slot.drained);
    Ok(left.fold(Left::default(), |left, slot| Left {
        sessions: left.sessions + 1,
        attended: left.attended + usize::from(slot.holder == Holder::Living),
    }))
}

/// A slot that nobody ever held has no session.
fn was_held(lease: &Lease) -> bool {
    let spec = lease.spec.as_ref();
    spec.is_some_and(|spec| spec.acquire_time.is_some() || spec.holder_identity.is_some())
}

async fn own_leases(leases: &Api<Lease>, route: &Validated) -> Result<Vec<Lease>, SlotsError> {
    let selector = format!("{}={}", names::ROUTE_LABEL, names::base(&route.name));
    let found =
        leases.list(&ListParams::default().labels(&selector)).await.map_err(failed("list"))?;
    let ours = |lease: &Lease| is_ours(route, lease);
    Ok(found.items.into_iter().filter(ours).collect())
}

fn is_ours(route: &Validated, lease: &Lease) -> bool {
    let index = names::slot_index(&route.name, &lease.name_any());
    let ours =
        |index| require_ours("Lease", &lease.metadata, &slot_lease(route, index).metadata).is_ok();
    index.is_some_and(ours)
}

/// Pods that run, or may yet: one that failed (evicted, say) stays as a record and holds nothing.
async fn living_pods(client: &Client, route: &Validated) -> Result<BTreeSet<String>, SlotsError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &route.namespace);
    let selector = format!("{}={}", names::ROUTE_LABEL, names::base(&route.name));
    let running = ListParams::default().labels(&selector).fields(LIVING);
    let found = pods.list_metadata(&running).await.map_err(failed("list the pods for"))?;
    Ok(found.items.into_iter().map(|pod| pod.name_any()).collect())
}

fn observe(route: &Validated, lease: &Lease, pods: &BTreeSet<String>) -> Option<Slot> {
    let holder =
        lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
    Some(Slot {
        index: names::slot_index(&route.name, &lease.name_any())?,
        retiring: lease.annotations().contains_key(names::RETIRE_ANNOTATION),
        drained: report(lease).is_some_and(|report| report.drained),
        holder: match holder {
            "" => Holder::None,
            pod if pods.contains(pod) => Holder::Living,
            _ => Holder::Gone,
        },
    })
}

fn report(lease: &Lease) -> Option<WorkerReport> {
    serde_json::from_str(lease.annotations().get(names::REPORT_ANNOTATION)?).ok()
}

fn reports(found: &[Lease], slots: &[Slot], route: &Validated) -> Vec<WorkerReport> {
    let active = |lease: &&Lease| {
        let index = names::slot_index(&route.name, &lease.name_any());
        slots.iter().any(|slot| {
            Some(slot.index) == index && !slot.retiring && slot.holder == Holder::Living
        })
    };
    found.iter().filter(active).filter_map(report).collect()
}

fn after(slots: &[Slot], plan: &Plan) -> Vec<u32> {
    let mut indices: Vec<_> =
        slots.iter().map(|slot| slot.index).filter(|index| !plan.delete.contains(index)).collect();
    indices.extend(&plan.create);
    indices.sort_unstable();
    indices
}

struct Writer<'a> {
    leases: &'a Api<Lease>,
    metrics: &'a Metrics,
    route: &'a Validated,
    found: &'a [Lease],
}

impl Writer<'_> {
    fn has_nothing_to_do(&self, plan: &Plan) -> bool {
        *plan == Plan::default() && self.changes(plan).is_empty()
    }

    async fn carry_out(&self, plan: &Plan) -> Result<(), SlotsError> {
        for index in &plan.create {
            self.create(*index).await?;
        }
        for (index, change) in self.changes(plan) {
            self.change(index, change).await.map_err(failed("change"))?;
        }
        for index in &plan.delete {
            self.delete(*index).await.map_err(failed("delete"))?;
        }
        Ok(())
    }

    /// What is there already is not always ours; ours it can be without the label by which it would have been found.
    async fn create(&self, index: u32) -> Result<(), SlotsError> {
        self.metrics.wrote("Lease");
        let lease = slot_lease(self.route, index);
        let params = PostParams {
            field_manager: Some(names::FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let created = self.leases.create(&params, &lease).await.map(drop);
        if !is_conflict(&created) {
            return created.map_err(failed("create"));
        }
        let there = self.leases.get_opt(&lease.name_any()).await.map_err(failed("get"))?;
        let Some(there) = there else { return Ok(()) };
        require_ours("Lease", &there.metadata, &lease.metadata)?;
        let Some(change) = marks(self.route, index, &there) else { return Ok(()) };
        self.patch(&there, change).await.map_err(failed("mark"))
    }

    /// One change a Lease, since each is made to the version that was read.
    fn changes(&self, plan: &Plan) -> BTreeMap<u32, Value> {
        let index = |lease: &Lease| names::slot_index(&self.route.name, &lease.name_any());
        let worn = |lease: &Lease| {
            let index = index(lease)?;
            Some((index, marks(self.route, index, lease)?))
        };
        let mut changes: BTreeMap<u32, Value> = self.found.iter().filter_map(worn).collect();
        for index in &plan.clear {
            let change = changes.entry(*index).or_insert_with(|| json!({}));
            change["spec"]["holderIdentity"] = Value::Null;
            change["metadata"]["annotations"][names::REPORT_ANNOTATION] = Value::Null;
        }
        for index in &plan.retire {
            let change = changes.entry(*index).or_insert_with(|| json!({}));
            change["metadata"]["annotations"][names::RETIRE_ANNOTATION] = "true".into();
        }
        for index in &plan.delete {
            changes.remove(index);
        }
        changes
    }

    fn lease(&self, index: u32) -> Option<&Lease> {
        let name = names::slot(&self.route.name, index);
        self.found.iter().find(|lease| lease.name_any() == name)
    }

    /// Only on the version that was read: whatever a worker wrote since wins, and the next reconcile decides anew.
    async fn change(&self, index: u32, change: Value) -> kube::Result<()> {
        match self.lease(index) {
            Some(lease) => self.patch(lease, change).await,
            None => Ok(()),
        }
    }

    async fn patch(&self, lease: &Lease, mut change: Value) -> kube::Result<()> {
        self.metrics.wrote("Lease");
        change["metadata"]["resourceVersion"] = lease.resource_version().unwrap_or_default().into();
        let params = PatchParams {
            field_manager: Some(names::FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        ignore_races(
            self.leases.patch(&lease.name_any(), &params, &Patch::Merge(change)).await.map(drop),
        )
    }

    async fn delete(&self, index: u32) -> kube::Result<()> {
        let Some(lease) = self.lease(index) else { return Ok(()) };
        self.metrics.wrote("Lease");
        let preconditions =
            Preconditions { uid: lease.uid(), resource_version: lease.resource_version() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        ignore_races(self.leases.delete(&lease.name_any(), &params).await.map(drop))
    }
}

/// Labels, annotation and owner that were taken away from a Lease of ours.
fn marks(route: &Validated, index: u32, lease: &Lease) -> Option<Value> {
    let wanted = slot_lease(route, index).metadata;
    let (labels, notes) =
        (wanted.labels.unwrap_or_default(), wanted.annotations.unwrap_or_default());
    let is_owned = lease.owner_references().iter().any(|owner| owner.uid == route.owner.uid);
    let is_marked = labels.iter().all(|(key, value)| lease.labels().get(key) == Some(value))
        && notes.iter().all(|(key, value)| lease.annotations().get(key) == Some(value));
    let mut metadata = json!({ "labels": labels, "annotations": notes });
    if !is_owned {
        // It has none: another's would have made it another's Lease.
        metadata["ownerReferences"] = json!(wanted.owner_references);
    }
    (!is_owned || !is_marked).then(|| json!({ "metadata": metadata }))
}

fn is_conflict<T>(result: &kube::Result<T>) -> bool {
    matches!(result, Err(kube::Error::Api(status)) if status.code == 409)
}

/// Somebody was faster: 409 (changed, or already there) and 404 (already gone).
fn ignore_races(result: kube::Result<()>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::tests::route;

    fn writer_changes(found: &[Lease], plan: &Plan) -> BTreeMap<u32, Value> {
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("no server"))
        });
        let leases = Api::namespaced(Client::new(service, "fleet"), "fleet");
        let metrics = Metrics::new(&mut prometheus_client::registry::Registry::default());
        Writer { leases: &leases, metrics: &metrics, route: &route(), found }.changes(plan)
    }

    #[tokio::test]
    async fn a_slot_that_is_cleared_and_retired_at_once_is_changed_once() {
        let plan = Plan { clear: vec![1], retire: vec![1], ..Plan::default() };
        let changes = writer_changes(&[slot_lease(&route(), 1)], &plan);
        let expected = json!({
            "spec": {"holderIdentity": null},
            "metadata": {"annotations": {"routemq.io/report": null, "routemq.io/retire": "true"}},
        });
        assert_eq!(changes, BTreeMap::from([(1, expected)]));
    }

    #[test]
    fn what_is_seen_is_in_order_only_where_every_holder_is_seen_to_live() {
        let (sight, route) = (Sight::default(), route());
        let todo = || seen(&sight, &route).plan();
        assert_eq!(
            todo(),
            Plan { create: vec![0, 1, 2], ..Plan::default() },
            "nothing is seen yet"
        );
        for index in 0..3 {
            let mut lease = slot_lease(&route, index);
            lease.spec.get_or_insert_default().holder_identity = Some(format!("pod-{index}"));
            sight.leases.put(&route.key(), format!("lease-{index}"), lease);
        }
        for living in ["pod-0", "pod-2"] {
            sight.pods.put(&route.key(), living.to_owned(), living.to_owned());
        }
        assert_eq!(todo(), Plan { clear: vec![1], ..Plan::default() }, "to be looked at anew");
        sight.pods.put(&route.key(), "pod-1".to_owned(), "pod-1".to_owned());
        assert_eq!(todo(), Plan::default());
    }

    #[tokio::test]
    async fn a_lease_that_lost_its_owner_or_a_label_gets_them_back() {
        let whole = slot_lease(&route(), 0);
        let (mut orphan, mut bare) = (whole.clone(), whole.clone());
        orphan.metadata.owner_references = None;
        bare.labels_mut().remove("app.kubernetes.io/managed-by");
        let change = |lease| writer_changes(&[lease], &Plan::default()).remove(&0);
        assert_eq!(change(whole), None);
        assert_eq!(change(orphan).unwrap()["metadata"]["ownerReferences"][0]["uid"], "0f0e");
        let labels = change(bare).unwrap()["metadata"]["labels"].take();
        assert_eq!(labels["app.kubernetes.io/managed-by"], "routemq-operator");
    }
}
