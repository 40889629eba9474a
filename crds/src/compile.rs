//! From a spec to a route table, or to every problem it has. Pure.

use crate::{problem::Problem, table::Table, v1alpha1::MqttRoute};

/// Compiles an object: fills defaults, joins prefixes, parses patterns, compiles expressions.
///
/// # Errors
/// Every problem at once, in the order of the spec's fields.
pub fn compile(_object: &MqttRoute) -> Result<Table, Vec<Problem>> {
    Err(vec![Problem::new("spec", "the compiler is not written yet")])
}
