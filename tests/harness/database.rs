use routemq_tests::{MariaDb, Postgres, Rows};
use tokio::net::TcpStream;

async fn three_rows(rows: &Rows) {
    rows.execute("CREATE TABLE readings (id INT PRIMARY KEY, note VARCHAR(20))").await;
    rows.execute("INSERT INTO readings VALUES (1, 'a'), (2, 'b'), (3, 'c')").await;
}

async fn assert_three_rows(rows: &Rows) {
    assert_eq!(rows.count("SELECT COUNT(*) FROM readings").await, 3);
    assert_eq!(rows.texts("SELECT note FROM readings ORDER BY id").await, ["a", "b", "c"]);
}

#[tokio::test]
async fn mariadb_keeps_what_was_committed_when_it_is_stopped_or_killed() {
    let mut database = MariaDb::start().await;
    three_rows(database.rows()).await;
    database.stop().await;
    assert!(TcpStream::connect(("127.0.0.1", database.port())).await.is_err());
    database.restart().await;
    assert_three_rows(database.rows()).await;
    database.kill();
    database.restart().await;
    assert_three_rows(database.rows()).await;
}

#[tokio::test]
async fn postgres_keeps_what_was_committed_when_it_is_stopped_or_killed() {
    let mut database = Postgres::start().await;
    three_rows(database.rows()).await;
    database.stop().await;
    assert!(TcpStream::connect(("127.0.0.1", database.port())).await.is_err());
    database.restart().await;
    assert_three_rows(database.rows()).await;
    database.kill();
    database.restart().await;
    assert_three_rows(database.rows()).await;
}

#[tokio::test]
async fn mariadb_refuses_what_does_not_fit() {
    let database = MariaDb::start().await;
    three_rows(database.rows()).await;
    let long = "INSERT INTO readings VALUES (4, 'more than twenty characters')";
    let error = database.rows().try_execute(long).await.expect_err("strict mode");
    assert!(error.to_string().contains("1406"), "{error}");
}

#[tokio::test]
async fn a_paused_database_answers_when_it_is_resumed() {
    let (mut mariadb, mut postgres) = tokio::join!(MariaDb::start(), Postgres::start());
    let waits = std::time::Duration::from_millis(300);
    mariadb.pause();
    postgres.pause();
    let (one, other) = (mariadb.rows().clone(), postgres.rows().clone());
    assert!(tokio::time::timeout(waits, one.try_execute("SELECT 1")).await.is_err());
    assert!(tokio::time::timeout(waits, other.try_execute("SELECT 1")).await.is_err());
    mariadb.resume();
    postgres.resume();
    one.execute("SELECT 1").await;
    other.execute("SELECT 1").await;
}
