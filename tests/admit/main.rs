//! Admission: what a real API server refuses and in which words, what it admits, and what only the compiler refuses.
//!
//! The documents are those of `crds/tests/refused` and `crds/tests/accepted`. `answers.txt` holds what kubectl prints of each.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this is test code: a step that fails is a test that fails"
)]

mod answers;
#[expect(dead_code, reason = "the operator suite uses the rest of it")]
#[path = "../operator/bed.rs"]
mod bed;
mod bounds;
mod compiler;
mod documents;
mod place;
mod schema;
