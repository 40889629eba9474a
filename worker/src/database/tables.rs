//! Makes the tables and columns that `dev` needs, so that a first route, and the next field of it, works without a line of SQL.

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

/// Creates what is missing; gives the names: `table`, or `table.column` where the table was there.
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
            continue;
        }
        let there = columns(connection, table).await?;
        for column in missing(&wanted, &there) {
            let text = AssertSqlSafe(add_text(table, column));
            sqlx::raw_sql(text).execute(&mut *connection).await?;
            created.push(format!("{table}.{column}"));
        }
        for key in missing_keys(&wanted, &unique(connection, table).await?) {
            let text = AssertSqlSafe(index_text(table, key));
            sqlx::raw_sql(text).execute(&mut *connection).await?;
            created.push(format!("{table} ({})", key.join(", ")));
        }
    }
    Ok(created)
}

/// The columns of a table, or of a view.
async fn columns(connection: &mut SqliteConnection, table: &str) -> Result<Vec<String>, Fault> {
    let name = table.rsplit('.').next().unwrap_or(table);
    let found = sqlx::query_scalar("SELECT name FROM pragma_table_info(?)").bind(name);
    Ok(found.fetch_all(connection).await?)
}

/// The columns of each unique index, in lower case and sorted, with commas between.
async fn unique(connection: &mut SqliteConnection, table: &str) -> Result<Vec<String>, Fault> {
    let name = table.rsplit('.').next().unwrap_or(table);
    let found = sqlx::query_scalar(
        "SELECT (SELECT group_concat(lower(name)) FROM (SELECT name FROM pragma_index_info(list.name) ORDER BY lower(name))) \
         FROM pragma_index_list(?) AS list WHERE list.\"unique\" AND NOT list.partial",
    );
    Ok(found.bind(name).fetch_all(connection).await?)
}

/// Without a unique index over its key a row cannot be ignored or updated.
fn missing_keys<'a>(wanted: &Wanted<'a>, there: &[String]) -> Vec<&'a [String]> {
    let lacks = |key: &&&[String]| {
        let mut names: Vec<String> = key.iter().map(|name| name.to_ascii_lowercase()).collect();
        names.sort();
        !there.contains(&names.join(","))
    };
    wanted.keys.iter().filter(lacks).copied().collect()
}

fn index_text(table: &str, key: &[String]) -> String {
    let quote = |name: &String| Dialect::Sqlite.quote(name);
    let columns: Vec<String> = key.iter().map(quote).collect();
    let name = Dialect::Sqlite.quote(&format!("{}_{}", table.replace('.', "_"), key.join("_")));
    let table = Dialect::Sqlite.quote_table(table);
    format!("CREATE UNIQUE INDEX IF NOT EXISTS {name} ON {table} ({})", columns.join(", "))
}

/// SQLite compares the names of columns without case.
fn missing<'a>(wanted: &Wanted<'a>, there: &[String]) -> Vec<&'a str> {
    let lacks = |column: &&&str| !there.iter().any(|other| other.eq_ignore_ascii_case(column));
    wanted.columns.iter().filter(lacks).copied().collect()
}

/// Earlier rows have NULL there.
fn add_text(table: &str, column: &str) -> String {
    let (table, column) = (Dialect::Sqlite.quote_table(table), Dialect::Sqlite.quote(column));
    format!("ALTER TABLE {table} ADD COLUMN {column}")
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
