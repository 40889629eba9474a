//! Waiting for a condition, with a deadline.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

const POLL: Duration = Duration::from_millis(20);

/// Asks again until the answer is `Ok`, at most for `timeout`; then fails with `what` and the last error.
///
/// ```no_run
/// # async fn doc(rows: routemq_tests::Rows) {
/// use routemq_tests::{ensure, eventually};
/// use std::time::Duration;
/// eventually("all rows are there", Duration::from_secs(30), async || {
///     let count = rows.count("SELECT COUNT(*) FROM readings").await;
///     ensure(count == 100, || format!("{count} rows"))
/// })
/// .await;
/// # }
/// ```
pub async fn eventually<T, E: Display>(
    what: &str,
    timeout: Duration,
    mut ask: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let start = Instant::now();
    loop {
        match ask().await {
            Ok(value) => return value,
            Err(error) if start.elapsed() > timeout => {
                panic!("{what}: not within {timeout:?}; last: {error}")
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// A condition as an answer for [`eventually`]; `seen` is told when it never holds.
pub fn ensure(condition: bool, seen: impl FnOnce() -> String) -> Result<(), String> {
    if condition { Ok(()) } else { Err(seen()) }
}
