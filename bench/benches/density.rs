//! `cargo bench --bench density`: the measure `density`, which fills the host up to its reserve, with the quick profile.

fn main() {
    std::process::exit(tare::cargo_bench::main("density"));
}
