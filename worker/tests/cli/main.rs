//! The `routemq` command as people meet it: the built program, its output, its exit codes.

mod check;
mod dev;
mod examples;
mod help;
mod init;
mod matching;
mod program;
mod pubsub;
mod run;
