//! Rows that meet each other.

use std::time::Duration;

use routemq_tests::{Bed, Client, Database, PATIENCE, ensure, eventually};
use rumqttc::v5::mqttbytes::QoS;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, MySqlConnection};
use tokio::sync::watch;

use crate::{ADD_KEY, keyed};

const SPEC: &str = "  workerCount: 2\n  delivery: {deadLetter: {topic: \"dead/{route}\"}}\n";

async fn dead_letters(bed: &Bed) -> Client {
    let mut dead = bed.client("dead").await;
    dead.subscribe("dead/#", QoS::AtLeastOnce).await;
    dead
}

/// Each message a topic of its own, the ids few: `count` messages over `ids` rows.
fn contended(count: usize, ids: usize) -> impl Iterator<Item = (String, String)> {
    (0..count)
        .map(move |n| (format!("readings/d-{n}/{}", n % ids), format!("{{\"value\": {n}.5}}")))
}

#[tokio::test]
async fn a_key_published_a_hundred_times_is_one_row_and_a_hundred_acknowledgements() {
    let bed = Bed::start(Database::mariadb().await).await;
    bed.rows().execute(ADD_KEY).await;
    let mut dead = dead_letters(&bed).await;
    let _workers = bed.run(&keyed(SPEC), 2).await;
    bed.client("publisher").await.publish_all(contended(100, 1), 20).await;
    bed.all_acknowledged("readings/", 100).await;
    assert_eq!(bed.row_count().await, 1);
    assert!(dead.receive(Duration::from_millis(300)).await.is_none(), "a repeat is no failure");
}

/// Changes the rows from the last to the first, one by one in a transaction, again and again: the workers' batches take
/// them the other way round.
async fn rival(url: String, ids: usize, stopped: watch::Receiver<bool>) {
    let mut connection = MySqlConnection::connect(&url).await.unwrap();
    while !*stopped.borrow() {
        // It may lose the deadlock as well as win it.
        let _ = countermarch(&mut connection, ids).await;
        let _ = connection.execute("ROLLBACK").await;
    }
}

async fn countermarch(connection: &mut MySqlConnection, ids: usize) -> Result<(), sqlx::Error> {
    connection.execute("BEGIN").await?;
    for id in (0..ids).rev() {
        let update = format!("UPDATE readings SET value = value + 1 WHERE id = {id}");
        connection.execute(AssertSqlSafe(update)).await?;
    }
    connection.execute("COMMIT").await?;
    Ok(())
}

async fn deadlocks(bed: &Bed) -> i64 {
    let count = "SELECT CAST(variable_value AS SIGNED) FROM information_schema.global_status \
         WHERE variable_name = 'INNODB_DEADLOCKS'";
    bed.rows().count(count).await
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlocks_under_load_are_tried_again_and_nothing_is_dead_lettered() {
    let bed = Bed::start(Database::mariadb().await).await;
    bed.rows().execute(ADD_KEY).await;
    let mut dead = dead_letters(&bed).await;
    let routes = keyed(SPEC).replace("onConflict: Ignore", "onConflict: Update");
    let _workers = bed.run(&routes, 2).await;
    let ids = 40;
    bed.client("first").await.publish_all(contended(ids, ids), 20).await;
    bed.all_acknowledged("readings/", ids).await;

    let stop = watch::Sender::new(false);
    let rivals: Vec<_> =
        (0..2).map(|_| tokio::spawn(rival(bed.database.url(), ids, stop.subscribe()))).collect();
    let mut published = ids;
    eventually("a deadlock happens", PATIENCE, async || {
        let more: Vec<_> = contended(published + 400, ids).skip(published).collect();
        published += 400;
        bed.client("publisher").await.publish_all(more, 200).await;
        ensure(deadlocks(&bed).await > 3, || "no deadlocks".to_owned())
    })
    .await;
    stop.send_replace(true);
    for rival in rivals {
        rival.await.unwrap();
    }
    bed.all_acknowledged("readings/", published).await;
    assert_eq!(bed.row_count().await, ids);
    assert!(dead.receive(Duration::from_millis(300)).await.is_none(), "a deadlock is no failure");
}

/// Longer than a statement waits for a lock (5 s).
#[tokio::test]
async fn rows_that_somebody_holds_are_waited_for_and_nothing_is_dead_lettered() {
    let bed = Bed::start(Database::mariadb().await).await;
    bed.rows().execute(ADD_KEY).await;
    let mut dead = dead_letters(&bed).await;
    let routes = keyed(SPEC).replace("onConflict: Ignore", "onConflict: Update");
    let _workers = bed.run(&routes, 2).await;
    bed.client("first").await.publish_all(contended(10, 10), 10).await;
    bed.all_acknowledged("readings/", 10).await;
    let mut holder = MySqlConnection::connect(&bed.database.url()).await.unwrap();
    holder.execute("BEGIN").await.unwrap();
    holder.execute("UPDATE readings SET value = -1 WHERE id < 5").await.unwrap();
    let more: Vec<_> = contended(110, 10).skip(10).collect();
    bed.client("publisher").await.publish_all(more, 50).await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert!(bed.acknowledged() < 110, "acknowledged without its row");
    holder.execute("COMMIT").await.unwrap();
    bed.all_acknowledged("readings/", 110).await;
    assert_eq!(bed.rows().count("SELECT COUNT(*) FROM readings WHERE value < 0").await, 0);
    assert!(dead.receive(Duration::from_millis(300)).await.is_none(), "a lock is no failure");
}
