//! From an object as stored to one that can be built. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use routemq_crds::{
    compile::compile,
    problem::Problem,
    table::{REVISION, Table},
    v1alpha1::{Broker, MqttRoute, MqttRouteSpec},
};

use crate::{
    names,
    settings::{Settings, effective_broker},
    sight::Route,
};

/// An object that a worker can run, with the operator's defaults filled in.
#[derive(Clone, Debug)]
pub struct Validated {
    /// The object, its broker completed: what workers read.
    pub object: MqttRoute,
    /// What it compiles to.
    pub table: Table,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What makes every child its own.
    pub owner: OwnerReference,
}

impl Validated {
    /// What it is known by.
    pub(crate) fn key(&self) -> Route {
        Route { namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// Why an object is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidateError {
    /// The spec has problems; each names its field and the fix.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<Problem>),
    /// The object did not come from an API server.
    #[error("the object has no {0}")]
    NotStored(&'static str),
}

/// Compiles the spec with the operator's defaults.
///
/// # Errors
/// Every problem at once.
pub fn validate(object: &MqttRoute, settings: &Settings) -> Result<Validated, ValidateError> {
    let given = object.spec.broker.as_ref();
    let broker = effective_broker(given, &settings.broker);
    let mut problems: Vec<Problem> = broker_problem(given, &broker).into_iter().collect();
    let mut object = object.clone();
    object.spec.broker = Some(broker);
    let revision = revision(&object.spec);
    object.annotations_mut().insert(REVISION.to_owned(), revision);
    let table = match compile(&object) {
        Ok(table) if problems.is_empty() => table,
        Ok(_) => return Err(ValidateError::Invalid(problems)),
        Err(more) => {
            problems.extend(more);
            return Err(ValidateError::Invalid(problems));
        }
    };
    Ok(Validated {
        table,
        namespace: object.namespace().ok_or(ValidateError::NotStored("namespace"))?,
        name: object.name_any(),
        owner: owner(&object)?,
        object,
    })
}

/// See [`REVISION`]: the same for the same work, whatever the number of workers and their pods.
fn revision(spec: &MqttRouteSpec) -> String {
    let mut work = serde_json::json!(spec);
    if let Some(fields) = work.as_object_mut() {
        for other in ["workerCount", "worker", "paused"] {
            fields.remove(other);
        }
    }
    format!("{:016x}", names::stable_hash(work.to_string().as_bytes()))
}

/// What is wrong with the spec's broker and the operator's together, and could not be seen of either alone.
fn broker_problem(given: Option<&Broker>, merged: &Broker) -> Option<Problem> {
    let Some(url) = &merged.url else {
        return Some(Problem::new(
            "spec.broker.url",
            "no broker is named here and the operator has no default: set spec.broker.url, or broker.url of the chart",
        ));
    };
    let is_plain = url.starts_with("mqtt://") || url.starts_with("ws://");
    if merged.tls.is_none() || !is_plain {
        return None;
    }
    Some(if given.is_some_and(|broker| broker.tls.is_some()) {
        Problem::new(
            "spec.broker.tls",
            format!(
                "stands beside {url:?}, which is not encrypted: set spec.broker.url to mqtts:// or wss://, or leave tls out"
            ),
        )
    } else {
        Problem::new(
            "spec.broker.url",
            format!(
                "{url:?} is not encrypted, and the operator's default authority (broker.caSecret of the chart) goes with it: write mqtts:// or wss://"
            ),
        )
    })
}

/// Without `blockOwnerDeletion`, which some clusters let only those set who may update the owner's finalizers.
fn owner(object: &MqttRoute) -> Result<OwnerReference, ValidateError> {
    let owner = object.controller_owner_ref(&()).ok_or(ValidateError::NotStored("uid"))?;
    Ok(OwnerReference { block_owner_deletion: None, ..owner })
}

#[cfg(test)]
mod tests {
    use routemq_crds::v1alpha1::{Broker, NameRef, Tls};

    use super::{broker_problem, revision, validate};
    use crate::{
        build::tests::route,
        settings::{Settings, effective_broker},
    };

    fn broker(url: Option<&str>, tls: bool) -> Broker {
        let ca = Tls { ca_secret_ref: Some(NameRef { name: "ca".to_owned() }), ..Tls::default() };
        Broker { url: url.map(str::to_owned), tls: tls.then_some(ca), ..Broker::default() }
    }

    #[test]
    fn a_brokers_url_and_certificates_must_fit_also_where_one_is_the_operators() {
        let (plain, safe) = (Some("mqtt://a"), Some("mqtts://b"));
        let rows = [
            ("both the operator's", broker(None, false), broker(safe, true), None),
            ("own plain URL", broker(plain, false), broker(safe, true), Some("spec.broker.url")),
            ("own certificates", broker(None, true), broker(plain, false), Some("spec.broker.tls")),
            ("own safe URL", broker(safe, false), broker(plain, true), None),
            ("no URL at all", broker(None, false), broker(None, false), Some("spec.broker.url")),
        ];
        for (name, given, defaults, field) in rows {
            let merged = effective_broker(Some(&given), &defaults);
            let found = broker_problem(Some(&given), &merged).map(|problem| problem.field);
            assert_eq!(found.as_deref(), field, "{name}");
        }
    }

    #[test]
    fn a_missing_broker_is_told_together_with_every_other_problem() {
        let mut object = route().object;
        object.spec.broker = None;
        object.spec.routes[0].topic = "a/{id}/{id}".to_owned();
        let error = validate(&object, &Settings::default()).unwrap_err().to_string();
        assert!(error.contains("spec.broker.url"), "{error}");
        assert!(error.contains("spec.routes[0].topic"), "{error}");
    }

    #[test]
    fn a_revision_is_of_the_work_and_not_of_the_number_of_workers() {
        let spec = route().object.spec;
        let mut scaled = spec.clone();
        scaled.worker_count = 7;
        scaled.worker.get_or_insert_default().image = Some("other".to_owned());
        let mut changed = spec.clone();
        changed.routes[0].topic = "devices/{id}/state".to_owned();
        assert_eq!(revision(&spec), revision(&scaled));
        assert_ne!(revision(&spec), revision(&changed));
    }
}
