//! oxikube
fn main() {}
