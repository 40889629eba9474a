//! What wakes a reconcile: MqttRoutes and everything that belongs to them, in one namespace, in some, or in all.

use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        coordination::v1::Lease,
        core::v1::{ConfigMap, Pod, ServiceAccount},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{Role, RoleBinding},
    },
};
use kube::{
    Api, Client, Resource,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        Controller,
        controller::{Config, Error},
    },
};
use routemq_crds::v1alpha1::MqttRoute;
use serde::de::DeserializeOwned;

use crate::{
    reconcile::{Context, ReconcileError, on_error, reconcile},
    watch::{self, changed},
};

/// Reconciles at once. Each waits for the API server most of its time.
const CONCURRENCY: u16 = 16;

/// Runs until `stop`, then ends what runs; one controller a namespace, or one for all.
pub async fn run(
    context: Context,
    namespaces: &[String],
    stop: impl Future<Output = ()> + Send + Sync + Clone + 'static,
) {
    let scopes: Vec<Option<&str>> = match namespaces {
        [] => vec![None],
        some => some.iter().map(|namespace| Some(namespace.as_str())).collect(),
    };
    let runs = scopes.into_iter().map(|scope| run_in(context.clone(), scope, stop.clone()));
    futures::future::join_all(runs).await;
}

async fn run_in(
    context: Context,
    scope: Option<&str>,
    stop: impl Future<Output = ()> + Send + Sync + Clone + 'static,
) {
    let client = &context.client;
    let routes: Api<DeserializeGuard<MqttRoute>> = scoped(client, scope);
    let controller = Controller::new(routes, watch::config());
    // Until the first list is read nothing runs that would have to end, and the controller would wait for that list.
    let (store, stopped) = (controller.store(), stop.clone());
    let stopped_early = async move {
        stopped.await;
        if store.wait_until_ready().now_or_never().is_some() {
            std::future::pending::<()>().await;
        }
    };
    let sight = || context.sight.clone();
    let running = controller
        .with_config(Config::default().concurrency(CONCURRENCY))
        .trigger_backoff(watch::Pauses::default())
        .reconcile_on(changed(scoped::<Deployment>(client, scope), sight()))
        .reconcile_on(changed(scoped::<PartialObjectMeta<ConfigMap>>(client, scope), sight()))
        .reconcile_on(changed(scoped::<PartialObjectMeta<ServiceAccount>>(client, scope), sight()))
        .reconcile_on(changed(scoped::<PartialObjectMeta<Role>>(client, scope), sight()))
        .reconcile_on(changed(scoped::<PartialObjectMeta<RoleBinding>>(client, scope), sight()))
        .reconcile_on(changed(
            scoped::<PartialObjectMeta<PodDisruptionBudget>>(client, scope),
            sight(),
        ))
        .reconcile_on(changed(scoped::<Lease>(client, scope), sight()))
        .reconcile_on(changed(scoped::<PartialObjectMeta<Pod>>(client, scope), sight()))
        .graceful_shutdown_on(stop)
        .run(reconcile, on_error, Arc::new(context.clone()))
        .for_each(|outcome| {
            if let Err(error) = outcome {
                note(&error, &context);
            }
            std::future::ready(())
        });
    tokio::select! {
        () = running => {}
        () = stopped_early => {}
    }
}

/// What a failed reconcile has to say, [`on_error`] says.
fn note(error: &Error<ReconcileError, kube::runtime::watcher::Error>, context: &Context) {
    match error {
        Error::ObjectNotFound(gone) => context.forget(gone.namespace.as_deref(), &gone.name),
        Error::QueueError(error) => {
            tracing::warn!(kind = "MqttRoute", %error, "watch failed, trying again");
        }
        _ => {}
    }
}

fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}
