//! Holds each acknowledgement against the database, at once.
//!
//! An acknowledgement promises that the effect is committed. So the effect must be there for anybody who asks after the
//! acknowledgement was seen: one that is not there is a wrong acknowledgement for certain. (The reverse isn't: between
//! an acknowledgement that came too early and the question, a commit may slip in. For that there are times in which
//! nothing can be committed, see `facts`.)

use std::{collections::HashSet, time::Duration};

use sqlx::{AssertSqlSafe, Connection as _, MySqlConnection, Row as _};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    moment::{Clock, Moment},
    witness::Acknowledged,
};

/// So many are asked for at a time.
const AT_ONCE: usize = 500;
/// A database that does not answer within this is asked again later, over another connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// An acknowledged message whose effect was not there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unfounded {
    pub(crate) id: u64,
    pub(crate) acknowledged: Moment,
    /// When the database was asked.
    pub(crate) asked: Moment,
}

/// What came of all questions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checked {
    pub(crate) asked: usize,
    pub(crate) unfounded: Vec<Unfounded>,
}

/// Asks until the witnesses are gone and every acknowledgement is held against the database.
pub(crate) fn start(
    url: String,
    clock: Clock,
    acknowledged: UnboundedReceiver<Acknowledged>,
) -> JoinHandle<Checked> {
    tokio::spawn(check(url, clock, acknowledged))
}

async fn check(
    url: String,
    clock: Clock,
    mut acknowledged: UnboundedReceiver<Acknowledged>,
) -> Checked {
    let mut checked = Checked::default();
    let mut connection = None;
    let mut batch = Vec::with_capacity(AT_ONCE);
    while acknowledged.recv_many(&mut batch, AT_ONCE).await > 0 {
        let (asked, present) = ask(&url, &clock, &mut connection, &batch).await;
        checked.asked += batch.len();
        let absent = batch.drain(..).filter(|it| !present.contains(&it.id));
        checked.unfounded.extend(absent.map(|it| Unfounded {
            id: it.id,
            acknowledged: it.at,
            asked,
        }));
    }
    checked
}

/// Which of them have their effect, and when that was asked.
async fn ask(
    url: &str,
    clock: &Clock,
    connection: &mut Option<MySqlConnection>,
    batch: &[Acknowledged],
) -> (Moment, HashSet<u64>) {
    let list: Vec<String> = batch.iter().map(|it| it.id.to_string()).collect();
    let question = format!("SELECT id FROM effects WHERE id IN ({})", list.join(","));
    loop {
        let asked = clock.now();
        match timeout(PATIENCE, present(url, connection, &question)).await {
            Ok(Ok(present)) => return (asked, present),
            Ok(Err(_)) | Err(_) => *connection = None,
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn present(
    url: &str,
    connection: &mut Option<MySqlConnection>,
    question: &str,
) -> Result<HashSet<u64>, sqlx::Error> {
    let open = match connection.take() {
        Some(open) => open,
        None => MySqlConnection::connect(url).await?,
    };
    let open = connection.insert(open);
    let rows = sqlx::raw_sql(AssertSqlSafe(question)).fetch_all(open).await?;
    rows.iter()
        .map(|row| Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or(u64::MAX)))
        .collect()
}
