//! The dead letters that were fetched, in a SQLite file.
//!
//! # Guarantee
//! A letter is acknowledged to the broker only after its commit here, so it is always in one of the two places.
//! The file is also the identity of a subscriber: its client id is made with it, so two files each get every letter.

use std::path::Path;

use sqlx::{
    ConnectOptions, Connection, Row,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow, SqliteSynchronous},
};

use super::{
    letter::{Carried, Entry, Letter, now},
    selection::Selection,
};

const SCHEMA: &str = "
create table if not exists subscriber (client_id text not null);
create table if not exists filters (filter text primary key) without rowid;
create table if not exists letters (
    id integer primary key autoincrement,
    topic text, found_at text not null, route text not null, class text not null, error text not null,
    attempts integer not null, first_received text not null, dead_lettered_at text not null,
    replays integer not null, replayed_at text, carried text not null, payload blob not null
);";

const LIST: &str = "
select id, topic, found_at, route, class, error, attempts, first_received, dead_lettered_at, replays, replayed_at,
       length(payload) as size
from letters
where (?1 is null or id in (select value from json_each(?1)))
  and (?2 is null or route = ?2) and (?3 is null or class = ?3)
  and (?4 is null or dead_lettered_at <= ?4) and (?5 is null or dead_lettered_at >= ?5)
  and (?6 is null or (replayed_at is not null) = ?6)
order by id";

/// An open store.
#[derive(Debug)]
pub(super) struct Store {
    connection: SqliteConnection,
}

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    /// Not a database, no space, no right.
    #[error("cannot use the dead letter store {path}")]
    Open {
        path: String,
        #[source]
        source: sqlx::Error,
    },
    /// A statement failed.
    #[error("the dead letter store failed")]
    Statement(#[from] sqlx::Error),
    /// Written by somebody else.
    #[error("dead letter {id} of the store is damaged")]
    Damaged {
        id: i64,
        #[source]
        source: serde_json::Error,
    },
}

impl Store {
    /// Opens it; makes it where it is not there.
    pub(super) async fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Open { path: path.display().to_string(), source };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .synchronous(SqliteSynchronous::Full)
            .disable_statement_logging();
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(failed)?;
        sqlx::raw_sql(SCHEMA).execute(&mut connection).await.map_err(failed)?;
        Ok(Self { connection })
    }

    /// The MQTT client id of this store, made with it; and whether it is new.
    pub(super) async fn client_id(&mut self) -> Result<(String, bool), StoreError> {
        let known = sqlx::query_scalar("select client_id from subscriber");
        if let Some(known) = known.fetch_optional(&mut self.connection).await? {
            return Ok((known, false));
        }
        let made = format!("routemq-dlq-{:016x}", fastrand::u64(..));
        let insert = sqlx::query("insert into subscriber values (?)").bind(&made);
        insert.execute(&mut self.connection).await?;
        Ok((made, true))
    }

    /// Adds filters to those that this store subscribes to, and gives all of them.
    pub(super) async fn filters(&mut self, more: &[String]) -> Result<Vec<String>, StoreError> {
        for filter in more {
            let insert = sqlx::query("insert or ignore into filters values (?)").bind(filter);
            insert.execute(&mut self.connection).await?;
        }
        let all = sqlx::query_scalar("select filter from filters order by filter");
        Ok(all.fetch_all(&mut self.connection).await?)
    }

    /// Keeps a letter. `again`: the broker sends it once more, so it may be here already; then it is not kept twice.
    pub(super) async fn keep(&mut self, letter: &Letter, again: bool) -> Result<bool, StoreError> {
        let entry = &letter.entry;
        let carried = serde_json::to_string(&letter.carried).unwrap_or_default();
        let insert = sqlx::query(
            "insert into letters (topic, found_at, route, class, error, attempts, first_received, dead_lettered_at,
                                  replays, carried, payload)
             select ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11
             where not ?12 or not exists (
                 select 1 from letters
                 where topic is ?1 and found_at = ?2 and route = ?3 and class = ?4 and error = ?5 and attempts = ?6
                   and first_received = ?7 and dead_lettered_at = ?8 and carried = ?10 and payload = ?11)",
        );
        let insert = insert.bind(&entry.topic).bind(&entry.found_at).bind(&entry.route);
        let insert = insert.bind(&entry.class).bind(&entry.error).bind(entry.attempts);
        let insert = insert.bind(&entry.first_received).bind(&entry.dead_lettered_at);
        let insert = insert.bind(entry.replays).bind(carried).bind(&letter.payload).bind(again);
        Ok(insert.execute(&mut self.connection).await?.rows_affected() > 0)
    }

    /// What the selection names, oldest first.
    pub(super) async fn list(&mut self, selection: &Selection) -> Result<Vec<Entry>, StoreError> {
        let list = sqlx::query(LIST).bind(selection.ids()).bind(&selection.route);
        let list = list.bind(&selection.class).bind(selection.latest()).bind(selection.earliest());
        let rows = list.bind(selection.replayed()).fetch_all(&mut self.connection).await?;
        Ok(rows.iter().map(entry).collect::<Result<_, _>>()?)
    }

    /// One of the list, whole.
    pub(super) async fn load(&mut self, entry: Entry) -> Result<Letter, StoreError> {
        let load = sqlx::query("select carried, payload from letters where id = ?").bind(entry.id);
        let row = load.fetch_one(&mut self.connection).await?;
        let carried: String = row.try_get(0)?;
        let damaged = |source| StoreError::Damaged { id: entry.id, source };
        let carried: Carried = serde_json::from_str(&carried).map_err(damaged)?;
        Ok(Letter { entry, carried, payload: row.try_get(1)? })
    }

    /// Marks it as replayed.
    pub(super) async fn replayed(&mut self, id: i64) -> Result<(), StoreError> {
        let update = sqlx::query("update letters set replayed_at = ? where id = ?");
        update.bind(now()).bind(id).execute(&mut self.connection).await?;
        Ok(())
    }

    /// Removes it.
    pub(super) async fn remove(&mut self, id: i64) -> Result<(), StoreError> {
        let delete = sqlx::query("delete from letters where id = ?").bind(id);
        delete.execute(&mut self.connection).await?;
        Ok(())
    }
}

fn entry(row: &SqliteRow) -> Result<Entry, sqlx::Error> {
    Ok(Entry {
        id: row.try_get("id")?,
        topic: row.try_get("topic")?,
        found_at: row.try_get("found_at")?,
        route: row.try_get("route")?,
        class: row.try_get("class")?,
        error: row.try_get("error")?,
        attempts: row.try_get("attempts")?,
        first_received: row.try_get("first_received")?,
        dead_lettered_at: row.try_get("dead_lettered_at")?,
        size: row.try_get("size")?,
        replays: row.try_get("replays")?,
        replayed_at: row.try_get("replayed_at")?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn letter(class: &str, at: &str) -> Letter {
        let entry = Entry {
            topic: Some("a/b".into()),
            route: "r".into(),
            class: class.into(),
            dead_lettered_at: at.into(),
            ..Entry::default()
        };
        Letter { entry, payload: vec![0, 255], carried: Carried::default() }
    }

    async fn store(folder: &tempfile::TempDir) -> Store {
        Store::open(&folder.path().join("letters.db")).await.unwrap()
    }

    #[tokio::test]
    async fn a_store_keeps_its_identity_and_its_letters() {
        let folder = tempfile::tempdir().unwrap();
        let (id, new) = store(&folder).await.client_id().await.unwrap();
        assert!(new && id.starts_with("routemq-dlq-"));
        let mut again = store(&folder).await;
        assert_eq!(again.client_id().await.unwrap(), (id, false));
        assert!(again.keep(&letter("Row", "2026-01-01T00:00:00.000Z"), false).await.unwrap());
        let entry = store(&folder).await.list(&Selection::default()).await.unwrap().remove(0);
        assert_eq!((entry.id, entry.size), (1, 2));
        assert_eq!(again.load(entry).await.unwrap().payload, [0, 255]);
    }

    #[tokio::test]
    async fn what_the_broker_sends_again_is_kept_once_and_twins_are_kept_twice() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder).await;
        let letter = letter("Row", "2026-01-01T00:00:00.000Z");
        let rows = [(false, true), (false, true), (true, false)];
        for (again, kept) in rows {
            assert_eq!(store.keep(&letter, again).await.unwrap(), kept, "again: {again}");
        }
    }

    /// Two `MqttRoute`s may each make a letter of one message, in the same millisecond.
    #[tokio::test]
    async fn the_letter_of_another_route_is_no_repeat() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder).await;
        let mut letter = letter("Row", "2026-01-01T00:00:00.000Z");
        assert!(store.keep(&letter, false).await.unwrap());
        letter.entry.route = "audit".to_owned();
        assert!(store.keep(&letter, true).await.unwrap());
    }

    #[tokio::test]
    async fn a_selection_is_by_class_age_and_whether_it_was_replayed() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder).await;
        for (class, at) in [("Row", "2026-01-01T00:00:00.000Z"), ("Payload", now().as_str())] {
            store.keep(&letter(class, at), false).await.unwrap();
        }
        store.replayed(2).await.unwrap();
        let hour = Some(Duration::from_hours(1));
        let all = Selection { whether_replayed_or_not: true, ..Selection::default() };
        let rows: [(&str, Selection, &[i64]); 7] = [
            ("not replayed", Selection::default(), &[1]),
            ("replayed", Selection { replayed: true, ..Selection::default() }, &[2]),
            ("all", all.clone(), &[1, 2]),
            ("class", Selection { class: Some("Payload".into()), ..all.clone() }, &[2]),
            ("older", Selection { older_than: hour, ..all.clone() }, &[1]),
            ("newer", Selection { newer_than: hour, ..all.clone() }, &[2]),
            ("by id", Selection { ids: vec![2, 9], ..all }, &[2]),
        ];
        for (case, selection, wanted) in rows {
            let found = store.list(&selection).await.unwrap();
            assert_eq!(found.iter().map(|it| it.id).collect::<Vec<_>>(), wanted, "{case}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_told_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letters.db");
        std::fs::write(
            &path,
            "this is not a database, and long enough to be read as one".repeat(9),
        )
        .unwrap();
        let error = Store::open(&path).await.unwrap_err();
        assert!(error.to_string().contains("letters.db"), "{error}");
    }
}
