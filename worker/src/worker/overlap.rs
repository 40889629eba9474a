//! Which copy of a message is handled, where several filters of a table cover its topic.
//!
//! A broker sends one copy of a message for each overlapping filter, to independently chosen members
//! of the share. Each copy names the subscription it came by (its identifier), and the copy that came by
//! the winning route's filter is *the* copy; the others are acknowledged without work.
//!
//! # Guarantee
//! A copy is left out only when another copy is certain to be handled:
//! - **The winner's filter is settled** here: a barrier proved that this session holds it since before
//!   this copy was queued, so the broker made a copy for it too, and dealt that to some member.
//! - **Whoever got that copy handles it**: it has the same table; or an older or newer one, and then no two
//!   members leave each other's copy out, because a member that has changed its table goes on handling
//!   what the older table would have handled (`previous`), and what came by a filter that no table it knows
//!   contains (`young`), until its siblings have had time to change theirs.
//!
//! In doubt a copy is handled: twice rather than never. So copies are doubled between a (re)connection
//! and its barrier, while a table changes, and where the broker has no subscription identifiers.
//! A member that *starts* with its table beside siblings that may have an older one knows nothing of it, and so not which copies they
//! count on: until they have had time to change, nothing is settled for it (see `dispatcher`).
//!
//! Pure: everything it needs comes as arguments.

use routemq_mqtt::SubscriptionIds;

/// What happens with a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Handled by the current table's winner.
    Current,
    /// Handled by the winner of this earlier table: its filter is no longer in the current table, and has
    /// not left the broker yet.
    Previous(usize),
    /// Another copy is handled: acknowledged without work.
    Overlap,
    /// No route: acknowledged and counted.
    Unmatched,
}

/// What is known about subscriptions when a copy arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    /// Identifiers of the current table's filters, sorted.
    pub(crate) filters: &'a [u32],
    /// Identifiers of filters that are granted and settled on this connection, sorted.
    pub(crate) settled: &'a [u32],
    /// Identifiers of the filters of earlier tables that are still consulted, sorted.
    pub(crate) earlier: &'a [u32],
    /// Whether siblings may still have a table that this worker has never seen.
    pub(crate) young: bool,
    /// Whether a table that siblings may have was forgotten: then no copy is left out while `young`.
    pub(crate) cut: bool,
}

/// Decides about a copy that came by `copy` (its subscription identifiers; empty where the broker does not
/// say). `current` is the identifier of the current winner's filter, `previous` those of the earlier
/// tables' winners, newest first; `None` where no route matches.
pub(crate) fn decide(
    copy: &SubscriptionIds,
    current: Option<u32>,
    previous: &[Option<u32>],
    known: Known<'_>,
) -> Decision {
    if is_the_copy(copy, current) {
        return Decision::Current;
    }
    match (gone_winner(copy, previous, known), current) {
        (Some(index), _) => Decision::Previous(index),
        (None, Some(winner)) if left_out(winner, copy, previous, known) => Decision::Overlap,
        (None, Some(_)) => Decision::Current,
        (None, None) => unmatched_now(previous, known),
    }
}

/// Whether this came by the current winner's filter: then nothing else needs to be known.
pub(crate) fn is_the_copy(copy: &SubscriptionIds, current: Option<u32>) -> bool {
    current.is_some_and(|winner| copy.is_empty() || copy.contains(winner))
}

/// The earlier table whose winner's filter is gone, where this is its copy.
fn gone_winner(
    copy: &SubscriptionIds,
    previous: &[Option<u32>],
    known: Known<'_>,
) -> Option<usize> {
    previous.iter().position(|winner| {
        winner.is_some_and(|winner| copy.contains(winner) && !known.has_filter(winner))
    })
}

/// Whether the winner's own copy is certain to be handled by whoever gets it.
fn left_out(
    winner: u32,
    copy: &SubscriptionIds,
    previous: &[Option<u32>],
    known: Known<'_>,
) -> bool {
    let settled = known.settled.binary_search(&winner).is_ok();
    let won_before = previous.iter().flatten().any(|winner| copy.contains(*winner));
    let stranger = known.young && (known.cut || copy.iter().any(|id| !known.has_ever_had(id)));
    settled && !won_before && !stranger
}

/// No route of the current table: gone routes stay matchable until their filter has left.
fn unmatched_now(previous: &[Option<u32>], known: Known<'_>) -> Decision {
    let gone = |winner: &Option<u32>| winner.is_some_and(|winner| !known.has_filter(winner));
    previous.iter().position(gone).map_or(Decision::Unmatched, Decision::Previous)
}

impl Known<'_> {
    fn has_filter(&self, identifier: u32) -> bool {
        self.filters.binary_search(&identifier).is_ok()
    }

    fn has_ever_had(&self, identifier: u32) -> bool {
        self.has_filter(identifier) || self.earlier.binary_search(&identifier).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Decision::{self, Current, Overlap, Previous, Unmatched},
        Known, decide,
    };
    use routemq_mqtt::SubscriptionIds;

    struct Row {
        name: &'static str,
        copy: &'static [u32],
        current: Option<u32>,
        previous: &'static [Option<u32>],
        known: Known<'static>,
        expected: Decision,
    }

    /// Filters 1 and 2 in the table and settled; nothing earlier.
    const CALM: Known<'static> =
        Known { filters: &[1, 2], settled: &[1, 2], earlier: &[], young: false, cut: false };
    const UNSETTLED: Known<'static> = Known { settled: &[2], ..CALM };
    const CHANGED: Known<'static> =
        Known { filters: &[1, 2], settled: &[1, 2], earlier: &[1, 2, 9], young: true, cut: false };
    const CUT: Known<'static> = Known { cut: true, ..CHANGED };
    const GONE: Known<'static> =
        Known { filters: &[2], settled: &[2], earlier: &[1, 2], young: true, cut: false };

    fn row(
        name: &'static str,
        copy: &'static [u32],
        current: Option<u32>,
        previous: &'static [Option<u32>],
        known: Known<'static>,
        expected: Decision,
    ) -> Row {
        Row { name, copy, current, previous, known, expected }
    }

    fn rows() -> Vec<Row> {
        vec![
            row("the winner's copy", &[1], Some(1), &[], CALM, Current),
            row("another filter's copy", &[2], Some(1), &[], CALM, Overlap),
            row("one copy for both filters", &[2, 1], Some(1), &[], CALM, Current),
            row("a broker without identifiers", &[], Some(1), &[], CALM, Current),
            row("no route", &[2], None, &[], CALM, Unmatched),
            row("no route, no identifiers", &[], None, &[], CALM, Unmatched),
            row("before the winner's barrier", &[2], Some(1), &[], UNSETTLED, Current),
            row("the copy's own filter unsettled", &[1], Some(2), &[], UNSETTLED, Overlap),
            row("the winner's copy, unsettled", &[1], Some(1), &[], UNSETTLED, Current),
            row("an old session's filter, later", &[7], Some(1), &[], CALM, Overlap),
            row("an unknown filter while young", &[7], Some(1), &[Some(1)], CHANGED, Current),
            row("a known gone filter, never winner", &[9], Some(1), &[Some(1)], CHANGED, Overlap),
            row("tables are forgotten while young", &[9], Some(1), &[Some(1)], CUT, Current),
            row("a filter that won before the swap", &[2], Some(1), &[Some(2)], CHANGED, Current),
            row("same winner before and after", &[2], Some(1), &[Some(1)], CHANGED, Overlap),
            row("an older table's winner", &[2], Some(1), &[Some(1), Some(2)], CHANGED, Current),
            row("a gone route's copy", &[1], Some(2), &[Some(1)], GONE, Previous(0)),
            row("a gone route, none instead", &[1], None, &[Some(1)], GONE, Previous(0)),
            row("gone two swaps ago", &[1], None, &[None, Some(1)], GONE, Previous(1)),
            row("a gone route, no identifiers", &[], None, &[Some(1)], GONE, Previous(0)),
            row("gone, and another's copy", &[2], None, &[Some(1)], GONE, Previous(0)),
            row("the heir's copy", &[2], Some(2), &[Some(1)], GONE, Current),
            row("no identifiers, heir wins", &[], Some(2), &[Some(1)], GONE, Current),
            row("its filter stays, no route now", &[2], None, &[Some(2)], CHANGED, Unmatched),
        ]
    }

    fn came_by(identifiers: &[u32]) -> SubscriptionIds {
        let mut ids = SubscriptionIds::default();
        for id in identifiers {
            ids.push(*id);
        }
        ids
    }

    #[test]
    fn each_copy_is_decided_by_its_row() {
        for Row { name, copy, current, previous, known, expected } in rows() {
            assert_eq!(decide(&came_by(copy), current, previous, known), expected, "{name}");
        }
    }

    /// Two members of a share, each with one of two tables over the same filters, get one copy each:
    /// somebody handles the message, whatever the tables' winners are.
    #[test]
    fn no_two_members_leave_out_each_others_copy_while_tables_differ() {
        for (old_winner, new_winner, copy_of_new) in
            [(1, 2, 1), (1, 2, 2), (2, 1, 1), (2, 1, 2), (1, 1, 2), (2, 2, 1)]
        {
            let copy_of_old = 3 - copy_of_new;
            let changed =
                decide(&came_by(&[copy_of_new]), Some(new_winner), &[Some(old_winner)], CHANGED);
            let unchanged = decide(&came_by(&[copy_of_old]), Some(old_winner), &[], CALM);
            assert!(
                changed == Current || unchanged == Current,
                "old winner {old_winner}, new {new_winner}, copy {copy_of_new}: lost"
            );
        }
    }
}
