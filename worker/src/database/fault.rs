use sqlx::{mysql::MySqlDatabaseError, postgres::PgDatabaseError, sqlite::SqliteError};

use crate::outcome::{Failure, FailureKind, class};

/// What an error of the database says about the rows that were being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A row is refused: too long, wrong type, a constraint. Again would fail again.
    Row,
    /// Deadlock or serialization: the same statement may pass at once.
    Deadlock,
    /// A lock was not granted in time.
    LockTimeout,
    /// No answer: the server is away, starting, full or read-only. It may come back.
    Away,
    /// Table, column or right missing: a human must act, every row would fail.
    Refused,
    /// Nothing we know.
    Unknown,
}

impl Verdict {
    /// Whether a part of the rows may pass where all of them did not.
    pub(crate) fn splits(self) -> bool {
        matches!(self, Self::Row | Self::Unknown)
    }

    /// Whether the next statement on the same connection cannot be trusted to work.
    pub(crate) fn breaks_connection(self) -> bool {
        matches!(self, Self::Away)
    }

    /// Whether a table that is not what it was can be the reason.
    pub(crate) fn may_be_stale(self) -> bool {
        matches!(self, Self::Row | Self::Refused | Self::Unknown)
    }

    fn kind(self) -> FailureKind {
        match self {
            Self::Row => FailureKind::Permanent,
            Self::Deadlock | Self::LockTimeout | Self::Unknown => FailureKind::Transient,
            Self::Away => FailureKind::Unavailable,
            Self::Refused => FailureKind::Systemic,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Row => class::ROW,
            Self::Deadlock => class::DEADLOCK,
            Self::LockTimeout => class::LOCK_TIMEOUT,
            Self::Away => class::DATABASE,
            Self::Refused => class::DATABASE_REFUSED,
            Self::Unknown => class::DATABASE_ERROR,
        }
    }
}

/// Why rows were not written, or a statement not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Fault {
    pub(crate) verdict: Verdict,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(verdict: Verdict, message: impl Into<String>) -> Self {
        Self { verdict, message: message.into() }
    }

    /// The engine's view of it. What the database says may quote values, so it is the source, not the message.
    pub(crate) fn failure(self, what: &str) -> Failure {
        let words = match self.verdict {
            Verdict::Row => "was refused by the database",
            Verdict::Deadlock => "lost a deadlock",
            Verdict::LockTimeout => "waited too long for a lock",
            Verdict::Away => "waits for the database",
            Verdict::Refused => "waits until the database is set up for it",
            Verdict::Unknown => "failed in the database",
        };
        let (kind, class) = (self.verdict.kind(), self.verdict.class());
        Failure::new(kind, class, format!("{what} {words}")).with_source(self)
    }
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self { verdict: verdict_of(&error), message: error.to_string() }
    }
}

fn verdict_of(error: &sqlx::Error) -> Verdict {
    use sqlx::Error as E;
    match error {
        E::Database(error) => {
            if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
                mysql_verdict(error.number(), error.code().unwrap_or_default())
            } else if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
                postgres_verdict(error.code())
            } else if error.try_downcast_ref::<SqliteError>().is_some() {
                sqlite_verdict(error.code().and_then(|code| code.parse().ok()), error.message())
            } else {
                Verdict::Unknown
            }
        }
        E::Io(_)
        | E::Tls(_)
        | E::Protocol(_)
        | E::PoolTimedOut
        | E::PoolClosed
        | E::WorkerCrashed => Verdict::Away,
        E::Encode(_) | E::InvalidArgument(_) => Verdict::Row,
        E::Configuration(_) | E::TypeNotFound { .. } => Verdict::Refused,
        _ => Verdict::Unknown,
    }
}

/// By error number; where that is not known, by SQLSTATE class.
/// <https://mariadb.com/kb/en/mariadb-error-code-reference/>
fn mysql_verdict(number: u16, state: &str) -> Verdict {
    match number {
        1213 => Verdict::Deadlock,
        1205 => Verdict::LockTimeout,
        // Full disk or table, too many connections or prepared statements (a new connection has none), shutdown, killed,
        // read-only, too slow.
        1021
        | 1040
        | 1041
        | 1053
        | 1114
        | 1152
        | 1153
        | 1158..=1161
        | 1184
        | 1203
        | 1226
        | 1290
        | 1317
        | 1461
        | 1792
        | 1836
        | 1927
        | 1969
        | 2006
        | 2013
        | 3024
        | 3032
        | 3100
        | 3168 => Verdict::Away,
        1048 | 1062 | 1264 | 1265 | 1292 | 1364 | 1365 | 1366 | 1367 | 1406 | 1411 | 1416
        | 1451 | 1452 | 1586 | 1690 | 1761 | 1762 | 3140 | 3819 | 4025 => Verdict::Row,
        // Database, table, column, right, host, account, engine.
        1044..=1046
        | 1049
        | 1051
        | 1054
        | 1064
        | 1129
        | 1130
        | 1136
        | 1142..=1144
        | 1146
        | 1227
        | 1370
        | 1698
        | 3118 => Verdict::Refused,
        _ => state_verdict(state),
    }
}

/// By SQLSTATE. <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn postgres_verdict(state: &str) -> Verdict {
    match state {
        "40001" | "40P01" => Verdict::Deadlock,
        "55P03" => Verdict::LockTimeout,
        // Cancelled by statement_timeout; read-only after a failover; a plan that the table outgrew.
        "57014" | "25006" | "0A000" => Verdict::Away,
        // Two rows of one upsert with the same key (fewer rows pass); a limit of the server.
        "21000" | "54000" | "54001" | "54011" | "54023" => Verdict::Row,
        _ => state_verdict(state),
    }
}

fn state_verdict(state: &str) -> Verdict {
    match state.get(..2).unwrap_or_default() {
        "22" | "23" | "44" => Verdict::Row,
        "40" => Verdict::Deadlock,
        "08" | "53" | "57" | "58" => Verdict::Away,
        "0L" | "26" | "28" | "3D" | "3F" | "42" => Verdict::Refused,
        _ => Verdict::Unknown,
    }
}

/// By primary result code. <https://www.sqlite.org/rescode.html>
fn sqlite_verdict(code: Option<i32>, message: &str) -> Verdict {
    match code.unwrap_or_default() & 0xff {
        // BUSY, LOCKED
        5 | 6 => Verdict::LockTimeout,
        // TOOBIG, CONSTRAINT, MISMATCH
        18..=20 => Verdict::Row,
        // NOMEM, INTERRUPT, IOERR, FULL, CANTOPEN, PROTOCOL
        7 | 9 | 10 | 13 | 14 | 15 => Verdict::Away,
        // PERM, READONLY, CORRUPT, AUTH, NOTADB
        3 | 8 | 11 | 23 | 26 => Verdict::Refused,
        1 if names_the_schema(message) => Verdict::Refused,
        _ => Verdict::Unknown,
    }
}

/// SQLite has one code for every error of a statement's text.
fn names_the_schema(message: &str) -> bool {
    const SIGNS: [&str; 6] = [
        "no such ",
        "has no column named",
        "does not match any PRIMARY KEY or UNIQUE",
        "syntax error",
        "values for",
        "cannot modify",
    ];
    SIGNS.iter().any(|sign| message.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mysql_errors_are_told_apart() {
        let table = [
            (1213, "40001", Verdict::Deadlock),
            (1205, "HY000", Verdict::LockTimeout),
            (1040, "08004", Verdict::Away),
            (1053, "08S01", Verdict::Away),
            (1290, "HY000", Verdict::Away),
            (1836, "HY000", Verdict::Away),
            (1317, "70100", Verdict::Away),
            (3024, "HY000", Verdict::Away),
            (1969, "70100", Verdict::Away),
            (1062, "23000", Verdict::Row),
            (1406, "22001", Verdict::Row),
            (1366, "22007", Verdict::Row),
            (1264, "22003", Verdict::Row),
            (1048, "23000", Verdict::Row),
            (1452, "23000", Verdict::Row),
            (3819, "HY000", Verdict::Row),
            (4025, "23000", Verdict::Row),
            (1146, "42S02", Verdict::Refused),
            (1054, "42S22", Verdict::Refused),
            (1045, "28000", Verdict::Refused),
            (1142, "42000", Verdict::Refused),
            (65000, "HY000", Verdict::Unknown),
            (65000, "22999", Verdict::Row),
        ];
        for (number, state, verdict) in table {
            assert_eq!(mysql_verdict(number, state), verdict, "{number}");
        }
    }

    #[test]
    fn postgres_errors_are_told_apart() {
        let table = [
            ("40001", Verdict::Deadlock),
            ("40P01", Verdict::Deadlock),
            ("55P03", Verdict::LockTimeout),
            ("08006", Verdict::Away),
            ("53300", Verdict::Away),
            ("53100", Verdict::Away),
            ("57P01", Verdict::Away),
            ("57P03", Verdict::Away),
            ("57014", Verdict::Away),
            ("25006", Verdict::Away),
            ("22001", Verdict::Row),
            ("22P02", Verdict::Row),
            ("23505", Verdict::Row),
            ("21000", Verdict::Row),
            ("42P01", Verdict::Refused),
            ("42703", Verdict::Refused),
            ("42501", Verdict::Refused),
            ("28P01", Verdict::Refused),
            ("3D000", Verdict::Refused),
            ("XX000", Verdict::Unknown),
        ];
        for (state, verdict) in table {
            assert_eq!(postgres_verdict(state), verdict, "{state}");
        }
    }

    #[test]
    fn sqlite_errors_are_told_apart() {
        let table = [
            (5, "database is locked", Verdict::LockTimeout),
            (517, "database is locked", Verdict::LockTimeout),
            (2067, "UNIQUE constraint failed: t.id", Verdict::Row),
            (18, "string or blob too big", Verdict::Row),
            (13, "database or disk is full", Verdict::Away),
            (778, "disk I/O error", Verdict::Away),
            (14, "unable to open database file", Verdict::Away),
            (8, "attempt to write a readonly database", Verdict::Refused),
            (1, "no such table: t", Verdict::Refused),
            (1, "table t has no column named x", Verdict::Refused),
            (1, "something new", Verdict::Unknown),
        ];
        for (code, message, verdict) in table {
            assert_eq!(sqlite_verdict(Some(code), message), verdict, "{message}");
        }
    }

    #[test]
    fn a_lost_connection_is_away() {
        let io = sqlx::Error::Io(std::io::ErrorKind::BrokenPipe.into());
        assert_eq!(Fault::from(io).verdict, Verdict::Away);
        assert_eq!(Fault::from(sqlx::Error::PoolTimedOut).verdict, Verdict::Away);
    }
}
