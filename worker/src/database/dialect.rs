use std::fmt;

/// Which SQL a database speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// MySQL and MariaDB.
    MySql,
    /// PostgreSQL.
    Postgres,
    /// SQLite.
    Sqlite,
}

impl Dialect {
    /// The dialect of a URL's scheme.
    pub(crate) fn of_scheme(scheme: &str) -> Option<Self> {
        match scheme {
            "mysql" | "mariadb" => Some(Self::MySql),
            "postgres" | "postgresql" => Some(Self::Postgres),
            "sqlite" => Some(Self::Sqlite),
            _ => None,
        }
    }

    /// How many values one statement can bind.
    pub(crate) const fn max_binds(self) -> usize {
        match self {
            Self::MySql | Self::Postgres => 65_535,
            Self::Sqlite => 32_766,
        }
    }

    /// One identifier, quoted so that it can be nothing else.
    pub(crate) fn quote(self, name: &str) -> String {
        match self {
            Self::MySql => format!("`{}`", name.replace('`', "``")),
            Self::Postgres | Self::Sqlite => format!("\"{}\"", name.replace('"', "\"\"")),
        }
    }

    /// `table` or `schema.table`, each part quoted.
    pub(crate) fn quote_table(self, table: &str) -> String {
        table.split('.').map(|part| self.quote(part)).collect::<Vec<_>>().join(".")
    }

    /// Appends the placeholder of the bind with this index, counted from 1.
    pub(crate) fn push_placeholder(self, text: &mut String, index: usize) {
        match self {
            Self::MySql | Self::Sqlite => text.push('?'),
            Self::Postgres => {
                text.push('$');
                text.push_str(&index.to_string());
            }
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MySql => "MySQL",
            Self::Postgres => "PostgreSQL",
            Self::Sqlite => "SQLite",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_cannot_leave_its_quotes() {
        let table = [
            (Dialect::MySql, "a`; DROP TABLE x; --", "`a``; DROP TABLE x; --`"),
            (Dialect::Postgres, "a\"b", "\"a\"\"b\""),
            (Dialect::Sqlite, "order", "\"order\""),
        ];
        for (dialect, name, quoted) in table {
            assert_eq!(dialect.quote(name), quoted, "{dialect}");
        }
        assert_eq!(Dialect::Postgres.quote_table("app.rows"), "\"app\".\"rows\"");
    }
}
