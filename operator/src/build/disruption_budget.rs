use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::metadata;
use crate::{names, validate::Validated};

/// One worker at a time: a drained node moves workers one after another, each resumed before the next goes.
pub(super) fn disruption_budget(route: &Validated) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata(route, names::worker(&route.name)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(names::selector(&route.name)),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}
