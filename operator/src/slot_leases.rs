//! The slots of one MqttRoute on the API server: read, planned, written.

use std::collections::BTreeSet;

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::PartialObjectMeta,
};
use routemq_crds::report::WorkerReport;
use serde_json::json;

use crate::{
    build::slot_lease,
    metrics::Metrics,
    names,
    slots::{Holder, Plan, Slot, plan, plan_of_deletion},
    validate::Validated,
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
#[error("{verb} the slots' Leases")]
pub struct SlotsError {
    verb: &'static str,
    #[source]
    source: kube::Error,
}

fn failed(verb: &'static str) -> impl FnOnce(kube::Error) -> SlotsError {
    move |source| SlotsError { verb, source }
}

/// Reads the Leases and pods of a MqttRoute, and brings the number of active slots to `wanted`.
///
/// # Errors
/// The first request that the API server refuses, but for lost races, which the next reconcile sees again.
pub async fn settle(
    client: &Client,
    metrics: &Metrics,
    route: &Validated,
) -> Result<Slots, SlotsError> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), &route.namespace);
    let found = own_leases(&leases, route).await?;
    let pods = living_pods(client, route).await?;
    let slots: Vec<_> = found.iter().filter_map(|lease| observe(route, lease, &pods)).collect();
    let keep = route.table.paused || route.table.worker_count == 0;
    let plan = plan(&slots, route.table.worker_count, keep);
    let writer = Writer { leases: &leases, metrics, route, found: &found };
    writer.carry_out(&plan).await?;
    Ok(Slots { indices: after(&slots, &plan), reports: reports(&found, &slots, route) })
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
/// As [`settle`].
pub async fn wind_up(
    client: &Client,
    metrics: &Metrics,
    route: &Validated,
) -> Result<Left, SlotsError> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), &route.namespace);
    let found = own_leases(&leases, route).await?;
    let pods = living_pods(client, route).await?;
    let slots: Vec<_> = found.iter().filter_map(|lease| observe(route, lease, &pods)).collect();
    let writer = Writer { leases: &leases, metrics, route, found: &found };
    writer.carry_out(&plan_of_deletion(&slots)).await?;
    let used = found.iter().filter(|lease| was_held(lease));
    let left = used.filter_map(|lease| observe(route, lease, &pods)).filter(|slot| !slot.drained);
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
    let ours =
        |lease: &Lease| lease.owner_references().iter().any(|owner| owner.uid == route.owner.uid);
    Ok(found.items.into_iter().filter(ours).collect())
}

async fn living_pods(client: &Client, route: &Validated) -> Result<BTreeSet<String>, SlotsError> {
    let pods: Api<PartialObjectMeta<Pod>> = Api::namespaced(client.clone(), &route.namespace);
    let selector = format!("{}={}", names::ROUTE_LABEL, names::base(&route.name));
    // Pods that were evicted, or have ended, may stay as objects for long: nothing runs in them.
    let running = "status.phase!=Failed,status.phase!=Succeeded";
    let found = pods
        .list(&ListParams::default().labels(&selector).fields(running))
        .await
        .map_err(failed("list the pods for"))?;
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
    async fn carry_out(&self, plan: &Plan) -> Result<(), SlotsError> {
        for index in &plan.create {
            self.metrics.wrote("Lease");
            let lease = slot_lease(self.route, *index);
            ignore_races(self.leases.create(&PostParams::default(), &lease).await.map(drop))
                .map_err(failed("create"))?;
        }
        // One write a Lease: a second one would be of a version that the first has replaced.
        for index in plan.clear.iter().chain(&plan.retire).collect::<BTreeSet<_>>() {
            let (clear, retire) = (plan.clear.contains(index), plan.retire.contains(index));
            self.change(*index, change_of(clear, retire)).await.map_err(failed("change"))?;
        }
        for index in &plan.delete {
            self.delete(*index).await.map_err(failed("delete"))?;
        }
        Ok(())
    }

    fn lease(&self, index: u32) -> Option<&Lease> {
        let name = names::slot(&self.route.name, index);
        self.found.iter().find(|lease| lease.name_any() == name)
    }

    /// Only on the version that was read: whatever a worker wrote since wins, and the next reconcile decides anew.
    async fn change(&self, index: u32, mut change: serde_json::Value) -> kube::Result<()> {
        let Some(lease) = self.lease(index) else { return Ok(()) };
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

/// Clears the holder, marks to retire, or both. A report goes with its holder; the record of filters stays for the next one.
fn change_of(clear: bool, retire: bool) -> serde_json::Value {
    let mut change = json!({"metadata": {"annotations": {}}});
    if clear {
        change["spec"] = json!({"holderIdentity": null});
        change["metadata"]["annotations"][names::REPORT_ANNOTATION] = serde_json::Value::Null;
    }
    if retire {
        change["metadata"]["annotations"][names::RETIRE_ANNOTATION] = "true".into();
    }
    change
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

    #[test]
    fn a_slot_is_cleared_and_marked_in_one_write() {
        let both = change_of(true, true);
        assert_eq!(
            both,
            json!({
                "spec": {"holderIdentity": null},
                "metadata": {"annotations": {"routemq.io/report": null, "routemq.io/retire": "true"}},
            })
        );
        assert!(change_of(false, true).get("spec").is_none());
        let clear = change_of(true, false);
        assert_eq!(clear["metadata"]["annotations"], json!({"routemq.io/report": null}));
    }
}
