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
    slots::{Holder, Plan, Slot, plan},
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
    let found = pods
        .list(&ListParams::default().labels(&selector))
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
        for index in &plan.clear {
            let change = json!({"spec": {"holderIdentity": null}, "metadata": {"annotations": {names::REPORT_ANNOTATION: null}}});
            self.change(*index, change).await.map_err(failed("clear the holder of"))?;
        }
        for index in &plan.retire {
            let change = json!({"metadata": {"annotations": {names::RETIRE_ANNOTATION: "true"}}});
            self.change(*index, change).await.map_err(failed("retire"))?;
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

/// Somebody was faster: 409 (changed, or already there) and 404 (already gone).
fn ignore_races(result: kube::Result<()>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        other => other,
    }
}
