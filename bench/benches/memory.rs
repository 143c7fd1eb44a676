//! `cargo bench --bench memory`: the measure `memory` with the quick profile.

fn main() {
    std::process::exit(tare::cargo_bench::main("memory"));
}
