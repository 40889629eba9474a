//! Links the program at a fixed address, as Go's programs are: 70,000 pointers of its tables need not be written at each
//! start, which are 1.6 MB that no two workers share. Its heap, its stacks and its libraries lie at random addresses still.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
