//! The `routemq` command: everything it does is in [`cli`].

mod cli;

/// Tables of many routes are freed while messages come: glibc's would hold up whoever allocates next for as long as a hundred milliseconds.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
