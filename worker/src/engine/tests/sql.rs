use std::time::Duration;

use routemq_crds::{
    table::{Action, Batch, Handler, Insert, Statement},
    v1alpha1::OnConflict,
};

use crate::{
    FinalOutcome, class,
    database::{Database, DatabaseOptions},
    testing::{at, bed, handler},
};

const BATCH: Batch = Batch { max_rows: 500, max_delay: Duration::from_millis(1) };

fn insert(columns: &[(&str, &str)]) -> Handler {
    let columns = columns.iter().map(|(name, value)| ((*name).to_owned(), at(value))).collect();
    let (table, on_conflict) = ("devices".to_owned(), OnConflict::Update);
    let key = vec!["device".to_owned()];
    handler(Action::Insert(Box::new(Insert { table, columns, on_conflict, key, batch: BATCH })))
}

fn statement(text: &str, binds: &[(&str, &str)]) -> Handler {
    let binds = binds.iter().map(|(name, value)| ((*name).to_owned(), at(value))).collect();
    handler(Action::Statement(Box::new(Statement { text: text.to_owned(), binds, batch: BATCH })))
}

async fn database() -> Database {
    let database = Database::connect("sqlite::memory:", DatabaseOptions::default()).await.unwrap();
    let (create, _) = bed("t")
        .handler(statement("CREATE TABLE devices (device PRIMARY KEY, state NOT NULL)", &[]))
        .database(&database)
        .engine()
        .await;
    assert!(create.dispatch(("t", "")).await.is_done());
    database
}

#[tokio::test]
async fn a_row_is_stored_and_a_later_handler_reads_it() {
    let database = database().await;
    let mut look =
        statement("SELECT state FROM devices WHERE device = :id", &[("id", "params.id")]);
    look.result_name = Some("look".to_owned());
    let (engine, _) = bed("devices/{id}")
        .handler(insert(&[("device", "params.id"), ("state", "payload.state")]))
        .handler(look)
        .publish("seen/{id}", "results.look[0]")
        .database(&database)
        .engine()
        .await;
    for payload in [r#"{"state":"on"}"#, r#"{"state":"'; DROP TABLE devices; --"}"#] {
        let report = engine.dispatch(("devices/7", payload)).await;
        assert!(report.is_done(), "{report:?}");
        assert_eq!(report.published[0].payload, payload.as_bytes());
    }
}

#[tokio::test]
async fn a_row_that_is_refused_is_given_up_at_once() {
    let database = database().await;
    let (engine, _) = bed("devices/{id}")
        .handler(insert(&[("device", "params.id"), ("state", "payload.state")]))
        .dead_letter("dead/{id}")
        .database(&database)
        .engine()
        .await;
    let report = engine.dispatch(("devices/7", r#"{"state": null}"#)).await;
    assert_eq!(report.outcome, Some(FinalOutcome::DeadLettered(class::ROW)));
    assert_eq!(report.attempts, 1);
    assert!(engine.dispatch(("devices/7", r#"{"state": 1}"#)).await.is_done());
}

#[tokio::test]
async fn a_missing_table_holds_the_message_until_it_is_there() {
    let database = database().await;
    let drop = statement("DROP TABLE devices", &[]);
    let (drop, _) = bed("t").handler(drop).database(&database).engine().await;
    assert!(drop.dispatch(("t", "")).await.is_done());
    let (engine, _) = bed("devices/{id}")
        .handler(insert(&[("device", "params.id"), ("state", "1")]))
        .database(&database)
        .engine()
        .await;
    let held = tokio::spawn(async move { engine.dispatch(("devices/7", "")).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!held.is_finished(), "held, not dead-lettered");
    let create = statement("CREATE TABLE devices (device PRIMARY KEY, state)", &[]);
    let (create, _) = bed("t").handler(create).database(&database).engine().await;
    assert!(create.dispatch(("t", "")).await.is_done());
    let report = held.await.unwrap();
    assert_eq!(report.outcome, Some(FinalOutcome::Done));
}
