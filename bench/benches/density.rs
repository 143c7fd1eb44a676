//! `cargo bench --bench density`: the measure `density`, which fills the host up to its reserve, with the quick profile.
//! That has time for two or three searches, drawn by the seed; the others are listed with the command that makes them.

fn main() {
    std::process::exit(tare::cargo_bench::main("density"));
}
