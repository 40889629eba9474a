//! The database comes before the first connection to the broker: a worker that cannot do its work takes no messages.

use std::{sync::Arc, time::Duration};

use routemq_crds::{
    table::{Action, Insert, Middleware, Table},
    v1alpha1::DedupStore,
};
use tokio::time::sleep;

use super::{DatabaseAway, RunError, RunSettings, plan::Plan};
use crate::database::{Database, DatabaseError, DatabaseOptions, Dialect};

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A database that the handlers of one object use.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    database: Database,
}

impl Connection {
    /// Opens what the plan names; asks for an answer only where a silent database is to fail the start.
    pub(super) async fn open(
        plan: &Plan,
        table: &Table,
        settings: &RunSettings,
    ) -> Result<Option<Self>, RunError> {
        let Some(url) = &plan.database else { return Ok(None) };
        let failed = |source| RunError::Database { name: plan.name.clone(), source };
        let options = DatabaseOptions {
            create_if_missing: settings.create_tables,
            ..DatabaseOptions::default()
        };
        let database =
            Database::open_counted(url, options, Arc::clone(settings.monitor.batch_rows()))
                .map_err(failed)?;
        if settings.database_away == DatabaseAway::Fail {
            database.ping().await.map_err(failed)?;
        }
        let connection = Self { database };
        if settings.database_away == DatabaseAway::Fail {
            connection.try_create_tables(table, settings).await.map_err(failed)?;
        }
        Ok(Some(connection))
    }

    /// To another URL of the same dialect; see [`Database::redirect`].
    pub(super) fn redirect(&self, url: &str) -> Result<(), DatabaseError> {
        self.database.redirect(url)
    }

    /// For the engine.
    pub(super) fn database(&self) -> Database {
        self.database.clone()
    }

    /// Waits until it answers, however long that takes.
    pub(super) async fn ready(&self, route: &str, table: &Table, settings: &RunSettings) {
        let mut pause = Duration::from_millis(500);
        while let Err(error) = self.database.ping().await {
            settings.monitor.waits(route, format!("waiting for the database: {error}"));
            tracing::warn!(route, %error, "waiting for the database; nothing is subscribed until it answers");
            settings.report.set_database_awaited(true);
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        settings.report.set_database_awaited(false);
        self.create_tables(table, settings).await;
    }

    /// Creates missing tables where the settings say so; a failure shows when the first row is written.
    pub(super) async fn create_tables(&self, table: &Table, settings: &RunSettings) {
        if let Err(error) = self.try_create_tables(table, settings).await {
            tracing::warn!(%error, "cannot create missing tables");
        }
    }

    async fn try_create_tables(
        &self,
        table: &Table,
        settings: &RunSettings,
    ) -> Result<(), DatabaseError> {
        if !settings.create_tables || self.database.dialect() != Dialect::Sqlite {
            return Ok(());
        }
        let made = self.database.create_missing_tables(&inserts(table)).await?;
        for name in made {
            tracing::info!(name, database = %self.database.place(), "created a table or column");
        }
        Ok(())
    }

    /// Says goodbye.
    pub(super) async fn close(&self) {
        self.database.close().await;
    }
}

fn inserts(table: &Table) -> Vec<&Insert> {
    let handlers = table.routes.iter().flat_map(|route| &route.handlers);
    let insert = handlers.filter_map(|handler| match &handler.action {
        Action::Insert(insert) => Some(&**insert),
        _ => None,
    });
    insert.collect()
}

/// Whether the table needs one.
pub(super) fn is_used(table: &Table) -> bool {
    let writes = |action: &Action| matches!(action, Action::Insert(_) | Action::Statement(_));
    let keeps =
        |step: &Middleware| matches!(step, Middleware::Dedup { store: DedupStore::Database, .. });
    table.routes.iter().any(|route| {
        route.handlers.iter().any(|it| writes(&it.action)) || route.middleware.iter().any(keeps)
    })
}
