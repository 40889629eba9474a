//! Databases of one's own, and a connection that counts independently of the worker.

mod mariadb;
mod postgres;
mod rows;
mod template;

pub use mariadb::{MariaDb, MariaDbConfig};
pub use postgres::{Postgres, PostgresConfig};
pub use rows::Rows;
