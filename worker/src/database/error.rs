use super::{
    dialect::Dialect,
    fault::{Fault, Verdict},
};

/// Why there is no database to work with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// The URL cannot be read.
    #[error(
        "the database URL {url:?} cannot be used: {cause}; write mysql://user:password@host:3306/name, \
         postgres://user:password@host:5432/name or sqlite://path/to/file.db"
    )]
    Url {
        /// Its password hidden.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The database is away, or refuses us.
    #[error("{dialect} at {url} cannot be used: {cause}; {remedy}")]
    Unreachable {
        /// Which kind.
        dialect: Dialect,
        /// Its password hidden.
        url: String,
        /// What the driver or the server says.
        cause: String,
        /// How to mend it.
        remedy: &'static str,
    },
    /// Tables of a server are their owner's business.
    #[error("tables are only created in SQLite; create them in {dialect} yourself")]
    TablesAreYours {
        /// Which kind.
        dialect: Dialect,
    },
}

impl DatabaseError {
    pub(crate) fn unreachable(dialect: Dialect, url: &str, fault: &Fault) -> Self {
        let remedy = remedy(dialect, fault.verdict);
        Self::Unreachable { dialect, url: url.to_owned(), cause: fault.message.clone(), remedy }
    }
}

fn remedy(dialect: Dialect, verdict: Verdict) -> &'static str {
    match (dialect, verdict) {
        (Dialect::Sqlite, _) => {
            "check that the folder exists and may be written to, and that the file exists and is a SQLite database \
             (`?mode=rwc` creates it)"
        }
        (_, Verdict::Refused) => "check user name, password, database name and rights",
        _ => "check host and port, and that the server runs and lets this machine in",
    }
}

/// The URL with `***` for its password. What cannot be read as a URL is hidden from the `//` to the last `@`.
pub(crate) fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let Some((login, place)) = rest.rsplit_once('@') else { return url.to_owned() };
    match login.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***@{place}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let table = [
            ("mysql://u:secret@h:1/d", "mysql://u:***@h:1/d"),
            ("postgres://u:se:cr@et@h/d", "postgres://u:***@h/d"),
            ("postgres://u@h/d", "postgres://u@h/d"),
            ("sqlite::memory:", "sqlite::memory:"),
            ("sqlite://a.db", "sqlite://a.db"),
        ];
        for (url, shown) in table {
            assert_eq!(redacted(url), shown);
        }
    }
}
