use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Middleware;

/// A prefix with common middleware. Groups nest by `parent`, at most 8 deep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Group {
    /// What routes and other groups call this group.
    pub name: String,
    /// The enclosing group; its prefix stands before this one's and its middleware runs first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Levels put before the topics of the group's routes; may hold params.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Steps that every message of the group takes, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub middleware: Vec<Middleware>,
}
