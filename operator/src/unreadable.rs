//! A stored object that is no MqttRoute (any more): it is told so, and nothing else is disturbed.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
    core::error_boundary::InvalidObject,
};
use routemq_crds::v1alpha1::{MqttRoute, MqttRouteStatus};
use serde_json::json;

use crate::{events, names, reconcile::Context, status};

/// Writes `Accepted=False` with the reason, where it is not yet there. What runs keeps running.
///
/// # Errors
/// Where the API server refuses.
pub(crate) async fn refuse(invalid: &InvalidObject, context: &Context) -> kube::Result<()> {
    let api = objects(&context.client, invalid.metadata.namespace.as_deref());
    let name = invalid.metadata.name.clone().unwrap_or_default();
    let Some(object) = read(&api, &name).await? else { return Ok(()) };
    let before = status_of(&object);
    let message = format!(
        "the stored object is no MqttRoute of this version ({}): correct it with kubectl edit, workers keep the last good table",
        invalid.error
    );
    let now = Time(Timestamp::now());
    let after = status::unreadable(&invalid.metadata, &before, &message, &now);
    if before == after {
        return Ok(());
    }
    context.metrics.wrote("MqttRouteStatus");
    // Server-side apply would have to read the stored object, too, and cannot.
    let change = Patch::Merge(json!({ "status": after }));
    let params = PatchParams {
        field_manager: Some(names::FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let written = api.patch_status(&name, &params, &change).await;
    // Where fields that the definition's rules read have another type, the API server takes no status: the Event is all there is then.
    if !matches!(&written, Err(kube::Error::Api(refusal)) if refusal.code == 422) {
        written?;
    }
    let about = object.object_ref(&ApiResource::erase::<MqttRoute>(&()));
    for news in events::news(&before.conditions, &after.conditions) {
        events::publish(&context.recorder, &about, news).await;
    }
    Ok(())
}

fn objects(client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
    let kind = ApiResource::erase::<MqttRoute>(&());
    Api::namespaced_with(client.clone(), namespace.unwrap_or_default(), &kind)
}

/// By a list of one: the operator has no right to get.
async fn read(api: &Api<DynamicObject>, name: &str) -> kube::Result<Option<DynamicObject>> {
    let found = api.list(&ListParams::default().fields(&format!("metadata.name={name}"))).await?;
    Ok(found.items.into_iter().find(|object| object.name_any() == name))
}

/// What it says so far; nothing where that cannot be read either.
fn status_of(object: &DynamicObject) -> MqttRouteStatus {
    let status = object.data.get("status").cloned().unwrap_or_default();
    serde_json::from_value(status).unwrap_or_default()
}
