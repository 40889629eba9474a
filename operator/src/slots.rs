//! Which slots should exist: a pure decision over the Leases that do.
//!
//! # Guarantee
//! The number of *active* slots (not marked to retire) becomes exactly `wanted`, where no index that is still
//! retiring is ever used again: its session may hold messages, and whoever adopts it must be the only one on its client id.
//! A slot that is held is never marked: nobody can know which pod a ReplicaSet will kill, so the mark waits until the
//! pod is gone and its slot unheld.

use std::collections::BTreeSet;

/// A slot's Lease as observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// From its name.
    pub index: u32,
    /// Marked by [`crate::names::RETIRE_ANNOTATION`].
    pub retiring: bool,
    /// A worker reported that nothing is left of its session.
    pub drained: bool,
    /// The pod that holds it, if that pod still exists.
    pub holder: Holder,
}

/// Who holds a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody.
    None,
    /// A pod that exists.
    Living,
    /// A pod that no longer exists.
    Gone,
}

/// What is to be done; each list sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Indices to create a Lease for.
    pub create: Vec<u32>,
    /// Slots to mark.
    pub retire: Vec<u32>,
    /// Drained slots whose Lease goes.
    pub delete: Vec<u32>,
    /// Slots whose holder no longer exists.
    pub clear: Vec<u32>,
}

/// Decides for `wanted` active slots. `keep` (paused, or scaled to 0) retires nothing: the sessions stay.
#[must_use]
pub fn plan(slots: &[Slot], wanted: u32, keep: bool) -> Plan {
    let active = slots.iter().filter(|slot| !slot.retiring).count();
    let wanted = wanted as usize;
    Plan {
        create: free_indices(slots).take(wanted.saturating_sub(active)).collect(),
        retire: if keep { Vec::new() } else { to_retire(slots, active.saturating_sub(wanted)) },
        delete: indices(slots, |slot| {
            slot.retiring && slot.drained && slot.holder != Holder::Living
        }),
        clear: indices(slots, |slot| {
            slot.holder == Holder::Gone && !(slot.retiring && slot.drained)
        }),
    }
}

/// Decides for a MqttRoute that is being deleted: every slot is to be drained, by whoever holds it. Those whose session is gone go.
#[must_use]
pub fn plan_of_deletion(slots: &[Slot]) -> Plan {
    Plan {
        create: Vec::new(),
        retire: indices(slots, |slot| !slot.retiring),
        ..plan(slots, 0, true)
    }
}

/// The highest unheld active slots, `excess` at most.
fn to_retire(slots: &[Slot], excess: usize) -> Vec<u32> {
    let unheld = indices(slots, |slot| !slot.retiring && slot.holder != Holder::Living);
    let mut chosen: Vec<_> = unheld.into_iter().rev().take(excess).collect();
    chosen.sort_unstable();
    chosen
}

fn free_indices(slots: &[Slot]) -> impl Iterator<Item = u32> {
    let used: BTreeSet<u32> = slots.iter().map(|slot| slot.index).collect();
    (0..).filter(move |index| !used.contains(index))
}

fn indices(slots: &[Slot], wanted: impl Fn(&Slot) -> bool) -> Vec<u32> {
    let mut found: Vec<_> =
        slots.iter().filter(|slot| wanted(slot)).map(|slot| slot.index).collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(index: u32, retiring: bool, drained: bool, holder: Holder) -> Slot {
        Slot { index, retiring, drained, holder }
    }

    fn held(index: u32) -> Slot {
        slot(index, false, false, Holder::Living)
    }

    fn unheld(index: u32) -> Slot {
        slot(index, false, false, Holder::None)
    }

    #[test]
    fn a_new_route_gets_the_lowest_indices() {
        assert_eq!(plan(&[], 3, false).create, [0, 1, 2]);
    }

    #[test]
    fn a_second_look_changes_nothing() {
        let slots = [held(0), held(1), unheld(2)];
        assert_eq!(plan(&slots, 3, false), Plan::default());
    }

    #[test]
    fn a_scale_down_marks_only_what_nobody_holds() {
        let slots = [held(0), unheld(1), held(2), held(3), held(4)];
        let plan = plan(&slots, 2, false);
        assert_eq!(plan.retire, [1], "three held slots wait until their pods are gone");
    }

    #[test]
    fn a_scale_down_marks_the_highest_of_several() {
        let slots = [unheld(0), unheld(1), unheld(2)];
        assert_eq!(plan(&slots, 1, false).retire, [1, 2]);
    }

    #[test]
    fn a_scale_up_during_a_drain_takes_a_fresh_index() {
        let slots = [held(0), slot(1, true, false, Holder::Living)];
        assert_eq!(plan(&slots, 2, false).create, [2]);
    }

    #[test]
    fn a_pause_and_a_scale_to_zero_retire_nothing() {
        let slots = [unheld(0), unheld(1)];
        assert_eq!(plan(&slots, 0, true), Plan::default());
    }

    #[test]
    fn a_deletion_retires_every_slot_held_or_not_and_deletes_what_is_drained() {
        let slots = [held(0), unheld(1), slot(2, false, false, Holder::Gone)];
        let drained = [slot(3, true, true, Holder::None), slot(4, true, false, Holder::Living)];
        let plan = plan_of_deletion(&[&slots[..], &drained[..]].concat());
        assert_eq!((plan.create, plan.retire), (vec![], vec![0, 1, 2]));
        assert_eq!((plan.delete, plan.clear), (vec![3], vec![2]));
    }

    #[test]
    fn a_drained_slot_is_deleted_and_an_adopter_that_died_is_cleared() {
        let slots = [slot(0, true, true, Holder::None), slot(1, true, false, Holder::Gone)];
        let plan = plan(&slots, 0, false);
        assert_eq!((plan.delete, plan.clear), (vec![0], vec![1]));
    }

    #[test]
    fn the_slot_of_a_lost_pod_is_cleared_so_that_its_replacement_resumes_it() {
        let plan = plan(&[held(0), slot(1, false, false, Holder::Gone)], 2, false);
        assert_eq!((plan.clear, plan.retire, plan.create), (vec![1], vec![], vec![]));
    }
}
