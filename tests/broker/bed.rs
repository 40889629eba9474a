//! The bed of this suite is everybody's.

pub(crate) use routemq_tests::{Bed, Load, PATIENCE, messages, readings};
