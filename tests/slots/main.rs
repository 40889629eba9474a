//! Slots between pods: `routemq run --slots` processes with the rights of worker pods, a real control plane, the operator, mosquitto.
//!
//! The control plane makes the pod objects (no node runs them), each test starts a process for each, and ends it as a kubelet would.
//! What the operator mounts is read once: a changed file may reach a real pod a minute and a half later.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this is test code: a step that fails is a test that fails"
)]

#[expect(dead_code, reason = "the operator suite uses the rest of it")]
#[path = "../operator/bed.rs"]
mod bed;
mod filters;
mod outage;
mod pods;
mod scale;
mod traffic;

use tokio::sync::RwLock;

/// The control plane that all tests share: whoever makes it hang has it alone.
static PLANE: RwLock<()> = RwLock::const_new(());
