//! What only root may do.

/// Whether this runs as root; where it does not, it says what is skipped for it.
pub fn is_root_or_skips(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: {what} (needs root)");
    }
    root
}
