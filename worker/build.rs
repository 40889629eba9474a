//! Packs the program's relative relocations (DT_RELR): 2 MB that the loader would read at each start, and that an idle
//! worker would keep. Needs glibc 2.36 or later where the program runs, as Debian 12 and the images have.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
