mod attempts;
mod build;
mod dead_letters;
mod handlers;
mod middleware;
mod sql;
