mod attempts;
mod build;
mod dead_letters;
mod expiry;
mod handlers;
mod middleware;
mod sql;
