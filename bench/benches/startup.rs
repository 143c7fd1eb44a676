//! `cargo bench --bench startup`: the measure `startup` with the quick profile.

fn main() {
    std::process::exit(tare::cargo_bench::main("startup"));
}
