use std::fmt::Write as _;

use routemq_crds::{table::Insert, v1alpha1::OnConflict};

use super::dialect::Dialect;

/// The text of one route's INSERT: everything that is the same for each of its batches.
#[derive(Clone, Debug)]
pub(crate) struct InsertText {
    pub(crate) dialect: Dialect,
    /// As the spec names it.
    pub(crate) table: String,
    pub(crate) columns: Vec<String>,
    on_conflict: OnConflict,
    key: Vec<String>,
}

impl InsertText {
    pub(crate) fn new(dialect: Dialect, insert: &Insert) -> Self {
        Self {
            dialect,
            table: insert.table.clone(),
            columns: insert.columns.iter().map(|(name, _)| name.clone()).collect(),
            on_conflict: insert.on_conflict,
            key: insert.key.clone(),
        }
    }

    /// Rows that one statement can bind; at least 1.
    pub(crate) fn max_rows(&self) -> usize {
        (self.dialect.max_binds() / self.columns.len().max(1)).max(1)
    }

    /// Where the key's columns stand in a row, if rows of one statement with the same key must be
    /// merged first: PostgreSQL's `DO UPDATE` refuses to touch a row twice.
    pub(crate) fn merge_key(&self) -> Option<Vec<usize>> {
        if self.dialect != Dialect::Postgres || self.on_conflict != OnConflict::Update {
            return None;
        }
        self.key.iter().map(|key| self.columns.iter().position(|column| column == key)).collect()
    }

    /// `INSERT … VALUES (?, …), …` for this many rows (MySQL, SQLite).
    pub(crate) fn values(&self, rows: usize) -> String {
        let row = format!("({})", vec!["?"; self.columns.len()].join(","));
        let mut text = self.head();
        text.reserve((row.len() + 1) * rows + 64);
        text.push_str(" VALUES ");
        for index in 0..rows {
            if index > 0 {
                text.push(',');
            }
            text.push_str(&row);
        }
        text.push_str(&self.conflict());
        text
    }

    /// `INSERT … SELECT … FROM UNNEST($1::text[], …)`: one array a column, so that one text serves
    /// every number of rows, and each value is read as its column's type (PostgreSQL).
    pub(crate) fn unnest(&self, types: &[String]) -> String {
        let mut text = self.head();
        text.push_str(" SELECT ");
        for (index, sql_type) in types.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let _ = write!(text, "{comma}c{index}::{sql_type}");
        }
        text.push_str(" FROM UNNEST(");
        for index in 1..=types.len() {
            let comma = if index > 1 { "," } else { "" };
            let _ = write!(text, "{comma}${index}::text[]");
        }
        let names = (0..types.len()).map(|i| format!("c{i}")).collect::<Vec<_>>().join(",");
        let _ = write!(text, ") AS u({names})");
        text.push_str(&self.conflict());
        text
    }

    fn head(&self) -> String {
        let table = self.dialect.quote_table(&self.table);
        format!("INSERT INTO {table} ({})", self.quoted(&self.columns))
    }

    fn quoted(&self, names: &[String]) -> String {
        names.iter().map(|name| self.dialect.quote(name)).collect::<Vec<_>>().join(",")
    }

    fn conflict(&self) -> String {
        match (self.on_conflict, self.dialect) {
            (OnConflict::Error, _) => String::new(),
            (OnConflict::Ignore, Dialect::MySql) => self.mysql_keep(),
            (OnConflict::Update, Dialect::MySql) => self.mysql_update(),
            (OnConflict::Ignore, _) => format!(" ON CONFLICT{} DO NOTHING", self.target()),
            (OnConflict::Update, _) => self.standard_update(),
        }
    }

    fn target(&self) -> String {
        if self.key.is_empty() { String::new() } else { format!(" ({})", self.quoted(&self.key)) }
    }

    /// Leaves the row as it is. `INSERT IGNORE` would also hide truncated values.
    fn mysql_keep(&self) -> String {
        let Some(column) = self.key.first().or(self.columns.first()) else { return String::new() };
        let column = self.dialect.quote(column);
        format!(" ON DUPLICATE KEY UPDATE {column} = {column}")
    }

    fn mysql_update(&self) -> String {
        let sets = self.assignments(|column| format!("{column} = VALUES({column})"));
        if sets.is_empty() { self.mysql_keep() } else { format!(" ON DUPLICATE KEY UPDATE {sets}") }
    }

    fn standard_update(&self) -> String {
        let sets = self.assignments(|column| format!("{column} = excluded.{column}"));
        let action =
            if sets.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {sets}") };
        format!(" ON CONFLICT{} DO {action}", self.target())
    }

    fn assignments(&self, assign: impl Fn(&str) -> String) -> String {
        let others = self.columns.iter().filter(|column| !self.key.contains(column));
        others.map(|column| assign(&self.dialect.quote(column))).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(dialect: Dialect, on_conflict: OnConflict) -> InsertText {
        let (columns, key) = (vec!["id".into(), "v".into()], vec!["id".into()]);
        InsertText { dialect, table: "s.t".into(), columns, on_conflict, key }
    }

    #[test]
    fn each_mode_has_its_text_in_each_dialect() {
        use Dialect::{MySql, Sqlite};
        use OnConflict::{Error, Ignore, Update};
        let table = [
            (MySql, Error, "INSERT INTO `s`.`t` (`id`,`v`) VALUES (?,?),(?,?)"),
            (
                MySql,
                Ignore,
                "INSERT INTO `s`.`t` (`id`,`v`) VALUES (?,?),(?,?) ON DUPLICATE KEY UPDATE `id` = `id`",
            ),
            (
                MySql,
                Update,
                "INSERT INTO `s`.`t` (`id`,`v`) VALUES (?,?),(?,?) ON DUPLICATE KEY UPDATE `v` = VALUES(`v`)",
            ),
            (Sqlite, Error, r#"INSERT INTO "s"."t" ("id","v") VALUES (?,?),(?,?)"#),
            (
                Sqlite,
                Ignore,
                r#"INSERT INTO "s"."t" ("id","v") VALUES (?,?),(?,?) ON CONFLICT ("id") DO NOTHING"#,
            ),
            (
                Sqlite,
                Update,
                r#"INSERT INTO "s"."t" ("id","v") VALUES (?,?),(?,?) ON CONFLICT ("id") DO UPDATE SET "v" = excluded."v""#,
            ),
        ];
        for (dialect, mode, expected) in table {
            assert_eq!(text(dialect, mode).values(2), expected);
        }
    }

    #[test]
    fn postgres_casts_each_column_of_the_arrays() {
        let sql = text(Dialect::Postgres, OnConflict::Update);
        assert_eq!(
            sql.unnest(&["bigint".into(), "character varying".into()]),
            concat!(
                r#"INSERT INTO "s"."t" ("id","v") SELECT c0::bigint,c1::character varying "#,
                r"FROM UNNEST($1::text[],$2::text[]) AS u(c0,c1) ",
                r#"ON CONFLICT ("id") DO UPDATE SET "v" = excluded."v""#
            )
        );
        assert_eq!(sql.merge_key(), Some(vec![0]));
        assert_eq!(text(Dialect::Postgres, OnConflict::Ignore).merge_key(), None);
    }

    #[test]
    fn a_statement_never_binds_more_than_the_database_takes() {
        assert_eq!(text(Dialect::Sqlite, OnConflict::Error).max_rows(), 16_383);
        let mut wide = text(Dialect::MySql, OnConflict::Error);
        wide.columns = vec!["c".into(); 70_000];
        assert_eq!(wide.max_rows(), 1);
    }
}
