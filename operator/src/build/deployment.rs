use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{metadata, pod};
use crate::{names, settings::Settings, validate::Validated};

/// The workers. `maxSurge: 0`, because a new pod would wait for a slot that the old one holds.
pub(super) fn deployment(route: &Validated, settings: &Settings) -> Deployment {
    Deployment {
        metadata: metadata(route, names::worker(&route.name)),
        spec: Some(DeploymentSpec {
            replicas: Some(replicas(route)),
            selector: LabelSelector {
                match_labels: Some(names::selector(&route.name)),
                ..LabelSelector::default()
            },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(0)),
                    max_unavailable: Some(IntOrString::Int(1)),
                }),
            }),
            revision_history_limit: Some(3),
            template: PodTemplateSpec {
                metadata: Some(template_metadata(route)),
                spec: Some(pod::pod(route, settings)),
            },
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// How many workers should run now.
fn replicas(route: &Validated) -> i32 {
    if route.table.paused { 0 } else { i32::try_from(route.table.worker_count).unwrap_or(i32::MAX) }
}

/// The user's labels and annotations, but for reserved ones; then ours.
fn template_metadata(route: &Validated) -> ObjectMeta {
    let worker = route.object.spec.worker.clone().unwrap_or_default();
    let mut labels = worker.pod_labels;
    labels.retain(|key, _| !names::is_reserved(key));
    labels.extend(names::labels(&route.name));
    let mut annotations = worker.pod_annotations;
    annotations.retain(|key, _| !names::is_reserved(key));
    annotations.insert(names::ROUTE_ANNOTATION.to_owned(), route.name.clone());
    ObjectMeta { labels: Some(labels), annotations: Some(annotations), ..ObjectMeta::default() }
}

#[cfg(test)]
mod tests {
    use crate::{build::tests::route, settings::Settings};

    #[test]
    fn a_user_label_cannot_take_over_the_selector() {
        let mut route = route();
        let worker = route.object.spec.worker.get_or_insert_default();
        worker.pod_labels = [("routemq.io/route", "other"), ("team", "blue")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let labels = super::template_metadata(&route).labels.unwrap();
        assert_eq!(
            (labels["routemq.io/route"].as_str(), labels["team"].as_str()),
            ("devices", "blue")
        );
    }

    #[test]
    fn a_paused_route_keeps_its_deployment_without_pods() {
        let mut route = route();
        route.table.paused = true;
        assert_eq!(super::deployment(&route, &Settings::default()).spec.unwrap().replicas, Some(0));
    }
}
