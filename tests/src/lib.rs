//! The test beds: real brokers and databases on free loopback ports.
