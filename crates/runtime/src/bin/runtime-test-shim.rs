//! Stands in for the oxikube binary in the tests of this crate: all it knows is the shim.

fn main() -> std::process::ExitCode {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|word| word == "shim") {
        return runtime::shim::main(args);
    }
    std::process::ExitCode::FAILURE
}
