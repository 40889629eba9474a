use std::time::Duration;

use routemq_crds::{
    table::{Action, Batch, Insert, KeySource, Middleware, SchemaSource},
    v1alpha1::{DedupStore, KeyRef, OnConflict},
};
use serde_json::json;

use crate::{
    Recorder, Secrets,
    extract::State,
    testing::{Bed, around, at, bed, custom, handler},
};

async fn problems(bed: Bed) -> Vec<String> {
    match bed.try_engine(&Recorder::default()).await {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn insert() -> Insert {
    Insert {
        table: "rows".to_owned(),
        columns: vec![("a".to_owned(), at("topic"))],
        on_conflict: OnConflict::Error,
        key: Vec::new(),
        batch: Batch { max_rows: 1, max_delay: Duration::ZERO },
    }
}

#[tokio::test]
async fn every_problem_of_a_table_is_told_at_once() {
    struct Missing;
    async fn wants(_: State<Missing>) {}
    let key = |name: &str| KeyRef { name: name.to_owned(), key: "k".to_owned() };
    let source = KeySource::UserProperty("k".to_owned());
    let (key_at, window) = (at("topic"), Duration::from_secs(1));
    let bed = bed("t")
        .middleware(around("nobody"))
        .middleware(Middleware::ApiKey { keys: key("absent"), source: source.clone() })
        .middleware(Middleware::ApiKey { keys: key("empty"), source })
        .middleware(Middleware::Validate(SchemaSource::Inline(json!({"type": 7}))))
        .middleware(Middleware::Dedup { key: key_at, window, store: DedupStore::Database })
        .handler(custom("nobody"))
        .handler(custom("wants"))
        .handler(handler(Action::Insert(Box::new(insert()))))
        .registry(|it| it.handler("wants", wants));
    let secrets = Secrets::default().with_value("empty", "k", " \n");
    let problems = problems(Bed { secrets, ..bed }).await;
    let wanted = [
        ("spec.routes[0].middleware[0].custom.name: no middleware \"nobody\"", "registers none"),
        ("spec.routes[0].middleware[1].apiKey.secretRef: ", "no key \"k\" in \"absent\""),
        ("spec.routes[0].middleware[2].apiKey.secretRef: ", "holds no key"),
        ("spec.routes[0].middleware[3].validate.schema: ", "not a JSON Schema"),
        ("spec.routes[0].middleware[4].dedup.store: ", "use Memory"),
        ("spec.routes[0].handlers[0].custom.name: no handler \"nobody\"", "registers wants"),
        ("spec.routes[0].handlers[1].custom.name: ", "Missing"),
        ("spec.routes[0].handlers[2].sql: ", "no database is configured"),
    ];
    assert_eq!(problems.len(), wanted.len(), "{problems:#?}");
    for (problem, (start, part)) in problems.iter().zip(wanted) {
        assert!(problem.starts_with(start) && problem.contains(part), "{problem}");
    }
}
