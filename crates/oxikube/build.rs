//! How the program is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // At a fixed address, as Go's programs are: nothing has to be relocated at the start, so the pages of tables stay as they are
    // in the file and are shared by all processes. There is one for each pod.
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let is_static = features.split(',').any(|feature| feature == "crt-static");
    if !is_static {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
