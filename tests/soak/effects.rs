//! What is in the database.

use std::{collections::HashMap, time::Duration};

use sqlx::{Connection as _, Executor as _, MySqlConnection, Row as _};
use tokio::time::sleep;

/// The attempts in the order of their commits, and the effects.
pub(crate) async fn read(url: &str) -> (Vec<u64>, HashMap<u64, i64>) {
    let mut connection = MySqlConnection::connect(url).await.expect("the database runs");
    let id = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    let attempts = sqlx::raw_sql("SELECT id FROM attempts ORDER BY seq").fetch_all(&mut connection);
    let attempts = attempts.await.expect("the table is there");
    let attempts = attempts.iter().map(|row| id(row.get(0))).collect();
    let effects = sqlx::raw_sql("SELECT id, value FROM effects").fetch_all(&mut connection);
    let effects = effects.await.expect("the table is there");
    (attempts, effects.iter().map(|row| (id(row.get(0)), row.get(1))).collect())
}

/// Adds the effects of attempts that have none, a moment after them: what a worker leaves behind that acknowledges
/// before it commits. Until the run ends.
pub(crate) async fn add_late(url: String) {
    let late = "INSERT IGNORE INTO effects SELECT DISTINCT attempts.id, attempts.id * 7919 % 1000003 \
        FROM attempts LEFT JOIN effects USING (id) WHERE effects.id IS NULL";
    loop {
        sleep(Duration::from_millis(100)).await;
        if let Ok(mut connection) = MySqlConnection::connect(&url).await {
            // It comes again in a moment.
            let _ = connection.execute(late).await;
        }
    }
}
