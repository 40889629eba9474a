//! The `routemq` command.

fn main() {}
