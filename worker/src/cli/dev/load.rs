//! The documents as `dev` runs them: with the included broker and database instead of their own.

use std::fmt::Write as _;

use routemq_crds::{
    document::{DocumentProblem, Documents},
    table::{Middleware, SchemaSource, Table},
    v1alpha1::{KeyRef, MqttRoute},
};
use routemq_worker::{Secrets, run::Loaded};

use super::Dev;
use crate::cli::{documents, failure::Failure};

/// What is run, and what there is to say about it.
#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) routes: Vec<Loaded>,
    /// Notes for people: documents passed over, parts of specs replaced.
    pub(super) notes: Vec<String>,
}

/// Why there is nothing to run.
pub(super) enum Refused {
    Problems(Vec<DocumentProblem>),
    Failure(Failure),
}

/// Loads for the start: problems are printed, and end it.
pub(super) fn load(dev: &Dev) -> Result<Load, Failure> {
    try_load(dev).map_err(|refused| match refused {
        Refused::Problems(problems) => documents::refused(&problems),
        Refused::Failure(failure) => failure,
    })
}

pub(super) fn try_load(dev: &Dev) -> Result<Load, Refused> {
    let documents = Documents::check(&dev.paths).map_err(Refused::Problems)?;
    documents::not_empty(&documents, &dev.paths).map_err(Refused::Failure)?;
    let tables = documents.compile().map_err(Refused::Problems)?;
    let mut notes = documents.notes.clone();
    notes.extend(replaced(&documents));
    let mut routes = Vec::new();
    for (located, object) in tables.into_iter().zip(&documents.routes) {
        let secrets = dev.sources().secrets(&documents, &located.object.namespace);
        missing(&located.object, &secrets, dev).map_err(Refused::Failure)?;
        routes.push(local(located.object, &object.object, secrets));
    }
    Ok(Load { routes, notes })
}

pub(super) fn runnable(load: &Load) -> Vec<Loaded> {
    load.routes.clone()
}

/// The same `MqttRoute` without its broker and database: those of `dev` stand in.
fn local(mut table: Table, object: &MqttRoute, secrets: Secrets) -> Loaded {
    let mut object = object.clone();
    object.spec.broker = None;
    object.spec.database = None;
    table.broker = routemq_crds::v1alpha1::Broker::default();
    table.database = None;
    Loaded { written: (&object).into(), table, secrets }
}

/// One note for all: which parts of the specs are not used here.
fn replaced(documents: &Documents) -> Option<String> {
    let specs = || documents.routes.iter().map(|located| &located.object.spec);
    let broker = specs().any(|spec| spec.broker.is_some());
    let database = specs().any(|spec| spec.database.is_some());
    let what = match (broker, database) {
        (true, true) => "spec.broker and spec.database are",
        (true, false) => "spec.broker is",
        (false, true) => "spec.database is",
        (false, false) => return None,
    };
    Some(format!("{what} not used here: dev brings its own"))
}

/// Secrets are never made up: what is missing is named, with how to supply it.
fn missing(table: &Table, secrets: &Secrets, dev: &Dev) -> Result<(), Failure> {
    let found = |kind: &str, at: &KeyRef| match kind {
        "Secret" => secrets.get(at),
        _ => secrets.get_config(at),
    };
    let absent = references(table).into_iter().find(|(kind, at)| found(kind, at).is_err());
    let Some((kind, KeyRef { name, key })) = absent else { return Ok(()) };
    let mut words =
        format!("{}: the {kind} {name:?} with the key {key:?} is missing: ", table.name);
    let paths: Vec<_> = dev.paths.iter().map(|path| path.display().to_string()).collect();
    let folder = dev.secrets.as_ref().map_or("DIR".to_owned(), |path| path.display().to_string());
    // Writing to a String does not fail.
    let _ = write!(
        words,
        "add a document of kind {kind} to {}, or put the value into {folder}/{name}/{key} and name the folder with --secrets {folder}",
        paths.join(", ")
    );
    Err(Failure::input(words))
}

fn references(table: &Table) -> Vec<(&'static str, KeyRef)> {
    let steps = table.routes.iter().flat_map(|route| route.middleware.iter());
    let reference = |step: &Middleware| match step {
        Middleware::ApiKey { keys, .. } => Some(("Secret", keys.clone())),
        Middleware::Validate(SchemaSource::ConfigMap(at)) => Some(("ConfigMap", at.clone())),
        _ => None,
    };
    steps.filter_map(reference).collect()
}
