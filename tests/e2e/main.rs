//! End to end on a real node: the chart installed by helm, our images, real pods, Pod Security `restricted`.
//!
//! Every test is ignored unless asked for, because it needs root and takes the machine: `./tests/run --stage e2e`. With
//! `ROUTEMQ_TEST_KUBECONFIG` the suite runs on that cluster instead (kind, say), whose nodes must have the images that
//! `ROUTEMQ_TEST_WORKER_IMAGE`, `ROUTEMQ_TEST_OPERATOR_IMAGE` and `ROUTEMQ_TEST_OPERATOR_IMAGE_NEXT` name.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "this is test code: a step that fails is a test that fails"
)]

mod bed;
mod changes;
mod cluster;
mod delivery;
mod example;
mod leftovers;
mod load;
mod loss;
mod operator;
mod reading;
mod rights;
