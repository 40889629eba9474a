//! The operator on a real control plane: admission, children, conditions, repair, leadership.
//!
//! No node runs here, so no worker pod starts: what workers would report, the tests write into the slots' Leases.

mod bed;
mod children;
mod conditions;
