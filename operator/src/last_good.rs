//! What a MqttRoute that is refused still runs: its last good spec, as its ConfigMap has it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt};
use routemq_crds::v1alpha1::MqttRoute;

use crate::{
    build::{TABLE_KEY, WORKER_KEY},
    names,
    settings::Settings,
    validate::{Validated, validate},
};

/// Last good specs of MqttRoutes that are refused now, so that not even a deleted ConfigMap loses one. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastGood(Arc<Mutex<HashMap<String, (String, Documents)>>>);

/// The spec that runs, and its pods'.
#[derive(Clone, Debug)]
struct Documents {
    route: String,
    worker: Option<String>,
}

impl LastGood {
    /// What the children of `object` are kept in order by, with the numbers of workers that it says now.
    ///
    /// # Errors
    /// Where the API server does not answer.
    pub(crate) async fn of(
        &self,
        object: &MqttRoute,
        client: &Client,
        settings: &Settings,
    ) -> kube::Result<Option<Validated>> {
        let maps: Api<ConfigMap> =
            Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
        let found = maps.get_opt(&names::worker(&object.name_any())).await?;
        let uid = object.uid().unwrap_or_default();
        let documents = match found.and_then(|map| documents(map, &uid)) {
            Some(documents) => {
                self.keep(object, &uid, &documents);
                Some(documents)
            }
            None => self.kept(object, &uid),
        };
        Ok(documents.and_then(|documents| revived(&documents, object, settings)))
    }

    /// It is accepted again, or gone.
    pub(crate) fn forget(&self, key: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn keep(&self, object: &MqttRoute, uid: &str, documents: &Documents) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key(object), (uid.to_owned(), documents.clone()));
    }

    fn kept(&self, object: &MqttRoute, uid: &str) -> Option<Documents> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, documents) = all.get(&key(object))?;
        (of == uid).then(|| documents.clone())
    }
}

/// As [`LastGood::forget`] knows an object.
#[must_use]
pub(crate) fn key(object: &MqttRoute) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

fn documents(map: ConfigMap, uid: &str) -> Option<Documents> {
    let ours = map.owner_references().iter().any(|owner| owner.uid == uid);
    let mut data = map.data.filter(|_| ours)?;
    Some(Documents { route: data.remove(TABLE_KEY)?, worker: data.remove(WORKER_KEY) })
}

/// The last good spec as this object's, with the workers that it wants now; with those of then, where these go together no more.
fn revived(documents: &Documents, object: &MqttRoute, settings: &Settings) -> Option<Validated> {
    let mut last: MqttRoute = serde_json::from_str(&documents.route).ok()?;
    last.metadata.uid.clone_from(&object.metadata.uid);
    let worker = documents.worker.as_deref().and_then(|text| serde_json::from_str(text).ok());
    last.spec.worker = worker.unwrap_or_else(|| object.spec.worker.clone());
    let then = last.clone();
    last.spec.worker_count = object.spec.worker_count;
    last.spec.paused = object.spec.paused;
    validate(&last, settings).or_else(|_| validate(&then, settings)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::{build, tests::route};

    #[test]
    fn a_refused_spec_leaves_the_last_good_one_running_and_scales_it() {
        let good = route();
        let map = build(&good, &Settings::default(), &[0]).unwrap().config_map;
        let documents = documents(map, "0f0e").unwrap();
        let mut refused = good.object.clone();
        refused.metadata.generation = Some(9);
        refused.spec.routes[0].topic = "a/{id}/{id}".to_owned();
        refused.spec.worker_count = 7;
        let revived = revived(&documents, &refused, &Settings::default()).unwrap();
        assert_eq!((revived.table.worker_count, revived.table.generation), (7, Some(3)));
        assert_eq!(revived.table.revision, good.table.revision, "workers need no other table");
        assert_eq!(revived.object.spec.routes, good.object.spec.routes);
    }

    #[test]
    fn a_config_map_of_somebody_else_is_no_last_good_spec() {
        let map = build(&route(), &Settings::default(), &[0]).unwrap().config_map;
        assert!(documents(map, "another").is_none());
    }
}
