//! Each bound of the schema, derived from it: refused one beyond it with the field named, and not at it.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use kube::{
    Client, Error,
    api::{PostParams, Request},
};
use routemq_tests::ControlPlane;
use serde_json::{Value, json};

use crate::{
    bed::Bed,
    documents::corpus,
    place::{Place, Probe},
    schema,
};

/// Documents that between them have every object of the schema.
const SOUND: [&str; 5] = ["design", "every-handler", "every-middleware", "every-payload", "pods"];
/// In the schema because it is Kubernetes' own of resources; pods of workers have no claims.
const NOT_OURS: &str = "spec.worker.resources.claims[]";
/// Requests at a time.
const AT_ONCE: usize = 8;

/// As the API server understands them: its defaults in place.
fn sound_documents() -> Vec<Value> {
    SOUND.into_iter().map(|name| with_groups(as_json(name))).collect()
}

fn as_json(name: &str) -> Value {
    let file = corpus().join("accepted").join(format!("{name}.yaml"));
    let create = ["create", "--dry-run=client", "--output=json", "--filename"];
    let json = ControlPlane::shared()
        .kubectl(&[&create[..], &[&file.to_string_lossy()]].concat())
        .unwrap();
    serde_json::from_str(&json).unwrap()
}

/// What stands before its first route's handlers stands in a group, too.
fn with_groups(mut document: Value) -> Value {
    if let Some(middleware) = document.pointer("/spec/routes/0/middleware").cloned() {
        let group = json!({"name": "probed", "prefix": "probed", "middleware": middleware});
        match document.pointer_mut("/spec/groups").and_then(Value::as_array_mut) {
            Some(groups) => groups.push(group),
            None => document["spec"]["groups"] = json!([group]),
        }
    }
    document
}

/// One probe of each bound, with the document that it breaks.
fn probes(documents: &[Value]) -> BTreeMap<String, (&Value, Probe)> {
    let mut found = BTreeMap::new();
    for document in documents {
        collect(&Place::spec(&document["spec"]), &mut |probe| {
            found.entry(probe.id.clone()).or_insert((document, probe));
        });
    }
    found
}

fn collect(place: &Place<'_>, found: &mut impl FnMut(Probe)) {
    place.probes().into_iter().for_each(&mut *found);
    for child in place.children() {
        collect(&child, found);
    }
}

/// What the API server complains of in a document: a line each, the field first.
async fn complaints(client: &Client, namespace: &str, document: &Value) -> Vec<String> {
    let mut document = document.clone();
    document["metadata"]["namespace"] = json!(namespace);
    let url = format!("/apis/routemq.io/v1alpha1/namespaces/{namespace}/mqttroutes");
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    let mut request = Request::new(url).create(&parameters, document.to_string().into()).unwrap();
    *request.uri_mut() = format!("{}&fieldValidation=Strict", request.uri()).parse().unwrap();
    match client.request::<Value>(request).await {
        Ok(_) => vec![],
        Err(Error::Api(status)) => {
            let causes = status.details.map(|details| details.causes).unwrap_or_default();
            let causes = causes.into_iter().map(|it| format!("{}: {}", it.field, it.message));
            causes.chain([status.message]).collect()
        }
        Err(error) => panic!("{error}"),
    }
}

/// What is wrong with the answers to a probe.
async fn judge(bed: &Bed, sound: &Value, probe: &Probe) -> Vec<String> {
    let says = |said: &[String]| said.iter().any(|line| line.contains(&probe.says));
    let mut wrong = Vec::new();
    let broken = probe.in_document(sound, probe.beyond.clone());
    let said = complaints(&bed.client, &bed.namespace, &broken).await;
    if !says(&said) {
        wrong.push(format!("{}: not {:?} but {said:#?}", probe.id, probe.says));
    }
    for value in &probe.within {
        let said =
            complaints(&bed.client, &bed.namespace, &probe.in_document(sound, Some(value.clone())))
                .await;
        let bound = probe.says.split(": ").last().expect("there is something");
        if said.iter().any(|line| line.starts_with(&probe.path()) && line.ends_with(bound)) {
            wrong.push(format!("{} at its bound: {said:#?}", probe.id));
        }
    }
    wrong
}

#[tokio::test]
async fn each_bound_of_the_schema_is_refused_beyond_it_and_named_and_admitted_at_it() {
    let bed = Bed::without_operator().await;
    let documents = sound_documents();
    let probes = probes(&documents);
    assert!(probes.len() > 300, "{}", probes.len());
    let answers = stream::iter(probes.values()).map(|(sound, probe)| judge(&bed, sound, probe));
    let wrong: Vec<_> = answers.buffer_unordered(AT_ONCE).collect().await;
    let wrong = wrong.concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Or a bound would go without a probe.
#[tokio::test]
async fn the_documents_reach_every_place_of_the_schema() {
    let documents = sound_documents();
    let mut reached = BTreeSet::new();
    for document in &documents {
        reach(&Place::spec(&document["spec"]), &mut reached);
    }
    let mut all = BTreeSet::new();
    schema::places(schema::spec(), "spec", &mut all);
    let missed: Vec<_> =
        all.difference(&reached).filter(|place| !place.starts_with(NOT_OURS)).collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

fn reach(place: &Place<'_>, reached: &mut BTreeSet<String>) {
    reached.insert(place.id.clone());
    for child in place.children() {
        reach(&child, reached);
    }
}
