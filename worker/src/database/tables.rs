//! Makes the tables that `dev` needs, so that a first route works without a line of SQL.

use std::collections::BTreeMap;

use routemq_crds::table::Insert;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{dialect::Dialect, fault::Fault, pool::Pool, sqlite::SqliteConnector};

/// A table that some inserts write to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted<'a> {
    columns: Vec<&'a str>,
    keys: Vec<&'a [String]>,
}

/// Creates what is missing; gives the names.
pub(crate) async fn create_missing(
    pool: &Pool<SqliteConnector>,
    inserts: &[&Insert],
) -> Result<Vec<String>, Fault> {
    let mut lease = pool.lease().await?;
    let result = create_each(&mut lease.connection, inserts).await;
    lease.settle(result)
}

async fn create_each(
    connection: &mut SqliteConnection,
    inserts: &[&Insert],
) -> Result<Vec<String>, Fault> {
    let mut created = Vec::new();
    for (table, wanted) in wanted(inserts) {
        if !exists(connection, table).await? {
            let text = AssertSqlSafe(create_text(table, &wanted));
            sqlx::raw_sql(text).execute(&mut *connection).await?;
            created.push(table.to_owned());
        }
    }
    Ok(created)
}

async fn exists(connection: &mut SqliteConnection, table: &str) -> Result<bool, Fault> {
    let name = table.rsplit('.').next().unwrap_or(table);
    let found = sqlx::query("SELECT 1 FROM sqlite_master WHERE lower(name) = lower(?)").bind(name);
    Ok(found.fetch_optional(connection).await?.is_some())
}

/// One entry a table, with the columns and keys of all its inserts.
fn wanted<'a>(inserts: &[&'a Insert]) -> BTreeMap<&'a str, Wanted<'a>> {
    let mut tables: BTreeMap<&str, Wanted<'_>> = BTreeMap::new();
    for insert in inserts {
        let wanted = tables.entry(&insert.table).or_default();
        for column in insert.columns.iter().map(|(name, _)| name).chain(&insert.key) {
            if !wanted.columns.contains(&column.as_str()) {
                wanted.columns.push(column);
            }
        }
        if !insert.key.is_empty() && !wanted.keys.contains(&insert.key.as_slice()) {
            wanted.keys.push(&insert.key);
        }
    }
    tables
}

/// Columns have no type: SQLite keeps each value as it comes.
fn create_text(table: &str, wanted: &Wanted<'_>) -> String {
    let quote = |name: &str| Dialect::Sqlite.quote(name);
    let has_id = wanted.columns.iter().any(|column| column.eq_ignore_ascii_case("id"));
    let id = (!has_id).then(|| "\"id\" INTEGER PRIMARY KEY".to_owned());
    let columns = wanted.columns.iter().map(|column| quote(column));
    let keys = wanted.keys.iter().map(|key| {
        let columns: Vec<String> = key.iter().map(|column| quote(column)).collect();
        format!("UNIQUE ({})", columns.join(", "))
    });
    let parts: Vec<String> = id.into_iter().chain(columns).chain(keys).collect();
    let table = Dialect::Sqlite.quote_table(table);
    format!("CREATE TABLE IF NOT EXISTS {table} ({})", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_an_id_of_its_own_unless_the_spec_has_one() {
        let key = ["device_id".to_owned()];
        let table = [
            (
                Wanted { columns: vec!["device_id", "v"], keys: vec![&key] },
                r#"CREATE TABLE IF NOT EXISTS "t" ("id" INTEGER PRIMARY KEY, "device_id", "v", UNIQUE ("device_id"))"#,
            ),
            (
                Wanted { columns: vec!["ID", "v"], keys: vec![] },
                r#"CREATE TABLE IF NOT EXISTS "t" ("ID", "v")"#,
            ),
        ];
        for (wanted, text) in table {
            assert_eq!(create_text("t", &wanted), text);
        }
    }
}
