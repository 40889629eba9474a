//! Databases of one's own, and a connection that counts independently of the worker.

mod either;
mod mariadb;
mod postgres;
mod rows;
mod template;

pub use either::Database;
pub use mariadb::{MariaDb, MariaDbConfig};
pub use postgres::{Postgres, PostgresConfig};
pub use rows::Rows;
