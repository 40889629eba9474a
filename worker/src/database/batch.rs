//! Writes the rows of one batch and says of each what became of it.

use std::ops::Range;

use super::{
    fault::{Fault, Verdict},
    value::SqlValue,
};

/// One row's values, in the order of the insert's columns.
pub(crate) type Row = Vec<SqlValue>;

/// Writes some rows in one statement: all of them or none.
pub(crate) trait WriteRows: Send + Sync {
    /// Resolves after the commit.
    fn write(&self, rows: &[Row]) -> impl Future<Output = Result<(), Fault>> + Send;

    /// How many of so many rows go into the next statement, 1 to `rows`.
    fn take(&self, rows: usize) -> usize;

    /// A batch of so many rows begins.
    fn begin(&self, _rows: usize) {}
}

/// Writes all rows, in order. A refused statement is halved until the bad rows stand alone, so that
/// their neighbours are stored; an error that is not a row's own ends the batch for the rows left.
pub(crate) async fn settle<W: WriteRows>(writer: &W, rows: &[Row]) -> Vec<Result<(), Fault>> {
    if rows.is_empty() {
        return Vec::new();
    }
    let mut results = Vec::with_capacity(rows.len());
    let mut todo: Vec<Range<usize>> = std::iter::once(0..rows.len()).collect();
    while let Some(range) = todo.pop() {
        let range = cut(range, writer, &mut todo);
        match writer.write(&rows[range.clone()]).await {
            Ok(()) => results.extend(range.map(|_| Ok(()))),
            Err(fault) if fault.verdict.splits() && range.len() > 1 => halve(range, &mut todo),
            Err(fault) if fault.verdict == Verdict::Row => results.push(Err(fault)),
            Err(fault) => return fill(results, rows.len(), &fault),
        }
    }
    results
}

/// What goes into one statement; what is left goes back to `todo`, a stack whose top is first in order.
fn cut<W: WriteRows>(
    range: Range<usize>,
    writer: &W,
    todo: &mut Vec<Range<usize>>,
) -> Range<usize> {
    let end = range.start + writer.take(range.len());
    if end < range.end {
        todo.push(end..range.end);
    }
    range.start..end
}

fn halve(range: Range<usize>, todo: &mut Vec<Range<usize>>) {
    let middle = usize::midpoint(range.start, range.end);
    todo.push(middle..range.end);
    todo.push(range.start..middle);
}

fn fill(mut results: Vec<Result<(), Fault>>, rows: usize, fault: &Fault) -> Vec<Result<(), Fault>> {
    results.resize_with(rows, || Err(fault.clone()));
    results
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Mutex};

    use proptest::prelude::*;

    use super::*;

    /// A table that refuses some rows, and stops answering after some statements.
    struct Table {
        bad: HashSet<i64>,
        stored: Mutex<Vec<i64>>,
        statements: Mutex<usize>,
        away_after: usize,
        max_rows: usize,
    }

    impl Table {
        fn new(bad: HashSet<i64>, away_after: usize, max_rows: usize) -> Self {
            let (stored, statements) = (Mutex::default(), Mutex::default());
            Self { bad, stored, statements, away_after, max_rows }
        }
    }

    fn number(row: &Row) -> i64 {
        match row[0] {
            SqlValue::Int(number) => number,
            _ => unreachable!("rows of this test hold one integer"),
        }
    }

    impl WriteRows for Table {
        async fn write(&self, rows: &[Row]) -> Result<(), Fault> {
            let mut statements = self.statements.lock().unwrap();
            *statements += 1;
            if *statements > self.away_after {
                return Err(Fault::new(Verdict::Away, "gone"));
            }
            assert!(rows.len() <= self.max_rows, "no statement is over the limit");
            if rows.iter().any(|row| self.bad.contains(&number(row))) {
                return Err(Fault::new(Verdict::Row, "bad"));
            }
            self.stored.lock().unwrap().extend(rows.iter().map(number));
            Ok(())
        }

        fn take(&self, rows: usize) -> usize {
            rows.min(self.max_rows)
        }
    }

    proptest! {
        #[test]
        fn each_row_is_stored_in_order_unless_it_is_bad_or_the_database_is_away(
            count in 0_i64..200,
            bad in proptest::collection::hash_set(0_i64..200, 0..20),
            away_after in prop_oneof![Just(usize::MAX), 0_usize..40],
            max_rows in 1_usize..100,
        ) {
            let rows: Vec<Row> = (0..count).map(|i| vec![SqlValue::Int(i)]).collect();
            let table = Table::new(bad, away_after, max_rows);
            let results = futures::executor::block_on(settle(&table, &rows));
            prop_assert_eq!(results.len(), rows.len());
            let stored = table.stored.into_inner().unwrap();
            let told: Vec<i64> = (0_i64..).zip(&results).filter(|(_, r)| r.is_ok()).map(|(i, _)| i).collect();
            prop_assert_eq!(&stored, &told, "what is told as stored is what is stored, in order");
            for (index, result) in (0_i64..).zip(&results) {
                match result {
                    Ok(()) => prop_assert!(!table.bad.contains(&index)),
                    Err(fault) if fault.verdict == Verdict::Row => prop_assert!(table.bad.contains(&index)),
                    Err(_) => prop_assert!(away_after != usize::MAX),
                }
            }
        }
    }

    #[tokio::test]
    async fn one_bad_row_of_500_costs_few_statements() {
        let rows: Vec<Row> = (0..500).map(|i| vec![SqlValue::Int(i)]).collect();
        let table = Table::new(HashSet::from([321]), usize::MAX, 500);
        let results = settle(&table, &rows).await;
        assert_eq!(results.iter().filter(|r| r.is_err()).count(), 1);
        assert!(results[321].is_err());
        assert!(*table.statements.lock().unwrap() <= 20);
    }
}
