use std::time::Duration;

use routemq_crds::v1alpha1::OnConflict;
use routemq_tests::{ensure, eventually};
use routemq_worker::{database::DatabaseOptions, outcome::FailureKind::Transient};
use sqlx::{Connection, Executor, MySqlConnection, PgConnection};

use crate::bed::{Bed, insert, row, write_all};

/// PostgreSQL may keep a count to itself for ten seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Somebody else's transaction with a row in its hand.
enum Holder {
    MySql(MySqlConnection),
    Postgres(PgConnection),
}

impl Holder {
    async fn take(bed: &Bed, sql: &'static str) -> Self {
        let mut holder = match bed {
            Bed::MariaDb(_) => Self::MySql(MySqlConnection::connect(&bed.url()).await.unwrap()),
            Bed::Postgres(_) => Self::Postgres(PgConnection::connect(&bed.url()).await.unwrap()),
        };
        holder.run("BEGIN").await;
        holder.run(sql).await;
        holder
    }

    async fn run(&mut self, sql: &'static str) {
        match self {
            Self::MySql(connection) => connection.execute(sql).await.map(drop).unwrap(),
            Self::Postgres(connection) => connection.execute(sql).await.map(drop).unwrap(),
        }
    }

    /// MariaDB ends the transaction that changed fewer rows, PostgreSQL the one that first looks
    /// for a deadlock. No row that the other one wants is locked here: how a server walks a range
    /// would decide which those are.
    async fn let_the_other_lose(&mut self, bed: &Bed) {
        match bed {
            Bed::MariaDb(_) => {
                self.run("INSERT INTO t SELECT seq, 'held' FROM seq_1001_to_1100").await;
            }
            Bed::Postgres(_) => self.run("SET LOCAL deadlock_timeout = '1min'").await,
        }
    }
}

#[tokio::test]
async fn a_lock_that_is_not_granted_is_transient() {
    for bed in Bed::both().await {
        bed.rows().execute("CREATE TABLE t (k BIGINT PRIMARY KEY, v VARCHAR(10))").await;
        bed.rows().execute("INSERT INTO t VALUES (1, 'old')").await;
        let options =
            DatabaseOptions { lock_timeout: Duration::from_secs(1), ..DatabaseOptions::default() };
        let database = bed.connect_with(options).await;
        let inserter = database.inserter(&insert("t", &["k", "v"], OnConflict::Update, &["k"]));
        let mut holder = Holder::take(&bed, "SELECT * FROM t WHERE k = 1 FOR UPDATE").await;
        let failure = inserter.write(row(1, "new")).await.unwrap_err();
        assert_eq!(
            (failure.kind, failure.class),
            (Transient, "LockTimeout"),
            "{}",
            failure.describe(500)
        );
        holder.run("ROLLBACK").await;
        inserter.write(row(1, "new")).await.unwrap();
        assert_eq!(bed.rows().texts("SELECT v FROM t").await, ["new"]);
    }
}

impl Bed {
    async fn until_somebody_waits(&self) {
        let waits = match self {
            Self::MariaDb(_) => {
                "SELECT CAST(variable_value AS SIGNED) FROM information_schema.global_status \
                 WHERE variable_name = 'INNODB_ROW_LOCK_CURRENT_WAITS'"
            }
            Self::Postgres(_) => "SELECT COUNT(*) FROM pg_locks WHERE NOT granted",
        };
        eventually("a statement waits for a lock", PATIENCE, async || {
            ensure(self.rows().count(waits).await > 0, || "nobody waits".to_owned())
        })
        .await;
    }

    async fn deadlocks(&self) -> i64 {
        let count = match self {
            Self::MariaDb(_) => {
                "SELECT CAST(variable_value AS SIGNED) FROM information_schema.global_status \
                 WHERE variable_name = 'INNODB_DEADLOCKS'"
            }
            Self::Postgres(_) => {
                "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
            }
        };
        self.rows().count(count).await
    }
}

/// The statement is tried again before a message hears of it.
#[tokio::test]
async fn a_batch_that_loses_a_deadlock_is_tried_again() {
    for bed in Bed::both().await {
        bed.rows().execute("CREATE TABLE t (k BIGINT PRIMARY KEY, v VARCHAR(10))").await;
        bed.rows().execute("INSERT INTO t VALUES (1, 'old'), (2, 'old'), (3, 'old')").await;
        let database = bed.connect().await;
        let inserter = database.inserter(&insert("t", &["k", "v"], OnConflict::Update, &["k"]));
        let mut holder = Holder::take(&bed, "UPDATE t SET v = 'held' WHERE k = 2").await;
        holder.let_the_other_lose(&bed).await;
        let write =
            tokio::spawn(async move { write_all(&inserter, [row(1, "new"), row(2, "new")]).await });
        bed.until_somebody_waits().await;
        holder.run("UPDATE t SET v = 'held' WHERE k = 1").await;
        holder.run("COMMIT").await;
        for result in write.await.unwrap() {
            result.unwrap();
        }
        let now = bed.rows().texts("SELECT v FROM t WHERE k < 4 ORDER BY k").await;
        assert_eq!(now, ["new", "new", "old"], "{}", bed.name());
        eventually("the deadlock is counted", PATIENCE, async || {
            let deadlocks = bed.deadlocks().await;
            ensure(deadlocks > 0, || format!("{} tells of {deadlocks}", bed.name()))
        })
        .await;
    }
}
