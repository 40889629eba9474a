//! From what was wanted to what is wanted now. Pure: a large table is compared where no message waits for it.

use std::{cmp::Ordering, sync::Arc};

use crate::Subscription;

/// What to change about the filters of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// New ones, and those to be asked for in another way.
    pub(crate) join: Vec<Subscription>,
    /// Gone ones.
    pub(crate) leave: Vec<Arc<str>>,
}

impl Difference {
    /// Both are sorted by filter.
    pub(crate) fn between(before: &[Subscription], after: &[Subscription]) -> Self {
        let mut difference = Self::default();
        let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
        loop {
            let order = match (before.peek(), after.peek()) {
                (Some(old), Some(new)) => old.filter.cmp(&new.filter),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return difference,
            };
            let old = if order.is_le() { before.next() } else { None };
            let new = if order.is_ge() { after.next() } else { None };
            if new.is_none() {
                difference.leave.extend(old.map(|old| Arc::clone(&old.filter)));
            } else if new != old {
                difference.join.extend(new.cloned());
            }
        }
    }
}

/// As [`Difference::between`] takes them.
pub(crate) fn sorted(wanted: Arc<[Subscription]>) -> Arc<[Subscription]> {
    if wanted.is_sorted_by(|one, next| one.filter <= next.filter) {
        return wanted;
    }
    let mut wanted = wanted.to_vec();
    wanted.sort_by(|one, other| one.filter.cmp(&other.filter));
    wanted.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QoS;

    fn wish(filter: &str, identifier: u32) -> Subscription {
        Subscription { filter: filter.into(), qos: QoS::AtLeastOnce, identifier }
    }

    #[test]
    fn only_what_is_new_gone_or_asked_for_in_another_way_is_named() {
        let (a, b, c) = (|| wish("a", 1), || wish("b", 2), || wish("c", 3));
        let rows = [
            ("nothing", vec![a(), b()], vec![a(), b()], vec![], vec![]),
            ("a new one", vec![a(), c()], vec![a(), b(), c()], vec![b()], vec![]),
            ("a gone one", vec![a(), b(), c()], vec![a(), c()], vec![], vec!["b"]),
            ("another identifier", vec![a()], vec![wish("a", 9)], vec![wish("a", 9)], vec![]),
            ("all new", vec![], vec![a(), b()], vec![a(), b()], vec![]),
            ("all gone", vec![a(), b()], vec![], vec![], vec!["a", "b"]),
            ("another", vec![a()], vec![b()], vec![b()], vec!["a"]),
        ];
        for (name, before, after, join, leave) in rows {
            let leave = leave.into_iter().map(Arc::from).collect();
            let expected = Difference { join, leave };
            assert_eq!(Difference::between(&before, &after), expected, "{name}");
        }
    }

    #[test]
    fn what_is_wanted_is_sorted_where_it_is_not() {
        let wanted = sorted([wish("b", 2), wish("a", 1)].into());
        assert_eq!(wanted[..], [wish("a", 1), wish("b", 2)]);
        let same = sorted(Arc::clone(&wanted));
        assert!(Arc::ptr_eq(&same, &wanted), "and not touched where it is");
    }
}
