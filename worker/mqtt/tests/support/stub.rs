//! A scripted broker.
