//! What the watches last said of each MqttRoute's children, so that a reconcile that has nothing to do asks for nothing.
//!
//! # Guarantee
//! It may lag behind the API server, as any watch does: what it shows to be in order is left alone until the next event, which wakes a
//! reconcile. Slots are changed only by what is read anew, and a child is changed only while it is the very object that was looked at, for the
//! same MqttRoute.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::{
    api::{apps::v1::Deployment, coordination::v1::Lease},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

/// A MqttRoute by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Route {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// What is known of all MqttRoutes' children. Cheap to clone: every clone sees the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sight {
    /// What can be edited of each child, as [`edited`] tells it, by uid.
    pub(crate) edits: Shelf<String, u64>,
    /// What a status needs of a Deployment, by uid.
    pub(crate) deployments: Shelf<String, Deployment>,
    /// The names of pods that run, or may yet, by uid.
    pub(crate) pods: Shelf<String, String>,
    /// The slots' Leases, by uid.
    pub(crate) leases: Shelf<String, Lease>,
    /// Children that were found, or made, as they should be, by kind.
    pub(crate) checked: Shelf<&'static str, Checked>,
}

/// A child that was as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) uid: String,
    /// The uid of the MqttRoute whose it is: another one of the same name has children of its own.
    pub(crate) owner: String,
    /// Of the object that was looked at.
    pub(crate) edits: u64,
    /// Of what was wanted.
    pub(crate) hash: String,
}

impl Sight {
    /// The child as it was last checked, where the watch says that nobody has edited it since.
    pub(crate) fn unedited(
        &self,
        route: &Route,
        owner: &str,
        kind: &'static str,
    ) -> Option<Checked> {
        let checked = self.checked.get(route, &kind).filter(|checked| checked.owner == owner)?;
        (self.edits.get(route, &checked.uid)? == checked.edits).then_some(checked)
    }

    /// The object is gone; what is left of its children, the watches still tell.
    pub(crate) fn forget(&self, route: &Route) {
        self.checked.lock().remove(route);
    }
}

/// Another number whenever somebody may have edited the object. A new status is no edit, where the kind counts generations.
pub(crate) fn edited(meta: &ObjectMeta) -> u64 {
    let mut hasher = DefaultHasher::new();
    if meta.generation.is_some() {
        meta.generation.hash(&mut hasher);
        hash_marks(meta, &mut hasher);
    } else {
        meta.resource_version.hash(&mut hasher);
    }
    hasher.finish()
}

/// Labels, annotations, owners.
pub(crate) fn hash_marks(meta: &ObjectMeta, hasher: &mut DefaultHasher) {
    meta.annotations.hash(hasher);
    meta.labels.hash(hasher);
    for owner in meta.owner_references.iter().flatten() {
        owner.uid.hash(hasher);
    }
}

/// A few things of each MqttRoute.
#[derive(Debug)]
pub(crate) struct Shelf<K, T>(Arc<Mutex<Things<K, T>>>);

type Things<K, T> = HashMap<Route, Vec<(K, T)>>;

impl<K, T> Clone for Shelf<K, T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K, T> Default for Shelf<K, T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Eq, T: Clone> Shelf<K, T> {
    pub(crate) fn put(&self, route: &Route, key: K, thing: T) {
        let mut all = self.lock();
        let things = match all.get_mut(route) {
            Some(things) => things,
            None => all.entry(route.clone()).or_default(),
        };
        match things.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = thing,
            None => things.push((key, thing)),
        }
    }

    pub(crate) fn remove(&self, route: &Route, key: &K) {
        let mut all = self.lock();
        let Some(things) = all.get_mut(route) else { return };
        things.retain(|(known, _)| known != key);
        if things.is_empty() {
            all.remove(route);
        }
    }

    pub(crate) fn get(&self, route: &Route, key: &K) -> Option<T> {
        let all = self.lock();
        let (_, thing) = all.get(route)?.iter().find(|(known, _)| known == key)?;
        Some(thing.clone())
    }

    /// All of one MqttRoute's.
    pub(crate) fn of(&self, route: &Route) -> Vec<T> {
        let all = self.lock();
        let things = all.get(route).map(Vec::as_slice).unwrap_or_default();
        things.iter().map(|(_, thing)| thing.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Things<K, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str) -> Route {
        Route { namespace: "fleet".to_owned(), name: name.to_owned() }
    }

    fn meta(version: &str, generation: Option<i64>, note: &str) -> ObjectMeta {
        ObjectMeta {
            resource_version: Some(version.to_owned()),
            generation,
            annotations: Some([("note".to_owned(), note.to_owned())].into()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn a_new_status_is_no_edit_where_generations_are_counted() {
        let rows = [
            ("status", meta("2", Some(1), "a"), false),
            ("spec", meta("2", Some(2), "a"), true),
            ("annotation", meta("2", Some(1), "b"), true),
        ];
        for (what, meta_after, is_edit) in rows {
            let before = meta("1", Some(1), "a");
            assert_eq!(edited(&meta_after) != edited(&before), is_edit, "{what}");
        }
        assert_ne!(edited(&meta("1", None, "a")), edited(&meta("2", None, "a")), "not counted");
    }

    #[test]
    fn a_child_is_unedited_only_where_the_watch_tells_what_was_checked() {
        let (sight, devices) = (Sight::default(), route("devices"));
        let tell = |edits: u64| sight.edits.put(&devices, "u".to_owned(), edits);
        let check = |edits: u64| {
            let [uid, owner, hash] = ["u", "o", "h"].map(str::to_owned);
            sight.checked.put(&devices, "ConfigMap", Checked { uid, owner, edits, hash });
        };
        let unedited = || sight.unedited(&devices, "o", "ConfigMap").is_some();
        tell(1);
        assert!(!unedited(), "never checked");
        check(2);
        assert!(!unedited(), "the watch does not know of it yet");
        tell(2);
        assert!(unedited());
        assert!(sight.unedited(&devices, "o", "Role").is_none(), "another child");
        assert!(sight.unedited(&devices, "p", "ConfigMap").is_none(), "a successor");
        assert!(sight.unedited(&route("other"), "o", "ConfigMap").is_none(), "another object");
        tell(3);
        assert!(!unedited(), "somebody changed it");
        check(3);
        assert!(unedited());
        sight.edits.remove(&devices, &"u".to_owned());
        assert!(!unedited(), "somebody deleted it");
    }

    #[test]
    fn a_shelf_keeps_the_last_of_each_and_nothing_of_what_is_gone() {
        let shelf: Shelf<&str, u32> = Shelf::default();
        let devices = route("devices");
        for (key, thing) in [("a", 1), ("b", 2), ("a", 3)] {
            shelf.put(&devices, key, thing);
        }
        assert_eq!(shelf.of(&devices), [3, 2]);
        assert!(shelf.of(&route("other")).is_empty());
        shelf.remove(&devices, &"a");
        shelf.remove(&devices, &"b");
        assert!(shelf.lock().is_empty());
    }
}
