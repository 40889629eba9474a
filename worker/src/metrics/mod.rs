//! What is counted, and how it is told.
//!
//! # Flow
//! 1. Each lane counts in cells of its own ([`RouteCells`]): relaxed atomics, no lock, no allocation.
//! 2. Whoever asks gets sums over lanes and workers ([`Totals`]), or all of it as text ([`encode`]).

mod cells;
mod histogram;
mod text;
mod totals;

pub use histogram::Distribution;
pub use totals::{Classes, RouteTotals, Totals};
pub(crate) use {
    cells::{RouteCells, handler_names},
    histogram::Histogram,
    text::{Reading, encode},
};
