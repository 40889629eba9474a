//! Sets and removes payload fields.

use routemq_crds::expression::Expression;

use crate::{engine::Shared, message::Message, outcome::Failure};

/// The `transform` middleware. Every expression sees the payload as it was before; then fields are
/// set, then removed. A payload that is not a map becomes one.
#[derive(Debug)]
pub(crate) struct Transform {
    set: Vec<(Vec<String>, Expression)>,
    remove: Vec<Vec<String>>,
}

impl Transform {
    pub(crate) fn new(set: &[(String, Expression)], remove: &[String]) -> Self {
        Self {
            set: set.iter().map(|(field, at)| (path(field), at.clone())).collect(),
            remove: remove.iter().map(|field| path(field)).collect(),
        }
    }

    pub(crate) fn enter(&self, message: &mut Message, shared: &Shared) -> Result<(), Failure> {
        let value = |(path, at): &(Vec<String>, Expression)| {
            Ok((path.clone(), shared.evaluator.decoded(at, message)?))
        };
        let values = self.set.iter().map(value).collect::<Result<Vec<_>, Failure>>()?;
        for (path, value) in values {
            message.payload_mut().set(&path, value)?;
        }
        for path in &self.remove {
            message.payload_mut().remove(path)?;
        }
        Ok(())
    }
}

fn path(field: &str) -> Vec<String> {
    field.split('.').map(str::to_owned).collect()
}
