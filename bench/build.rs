//! Compiles the payload and the nano guest with the compiler that builds the suite: no blob in git, no
//! second toolchain. Both land in `$OUT_DIR` and are embedded by `src/payload.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The machine the payload runs on, whatever the flags of the suite itself are.
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=payload");

    let os = variable("CARGO_CFG_TARGET_OS");
    let architecture = variable("CARGO_CFG_TARGET_ARCH");
    if (os.as_str(), architecture.as_str()) != ("linux", "x86_64") {
        println!(
            "cargo::error=tare measures x86_64 Linux only, this build is for {architecture} {os}; build for {TARGET}"
        );
        return;
    }

    println!("cargo::rustc-env=TARE_REVISION={}", revision());

    let sources = PathBuf::from(variable("CARGO_MANIFEST_DIR")).join("payload");
    let out = PathBuf::from(variable("OUT_DIR"));
    compile(&sources.join("payload.rs"), &out.join("payload"), &[]);
    let script = format!("-Wl,-T,{}", sources.join("nano.ld").display());
    compile(&sources.join("nano.rs"), &out.join("nano"), &[script]);
}

/// The git revision that results are stamped with.
fn revision() -> String {
    println!("cargo::rerun-if-changed=../.git/logs/HEAD");
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "no git revision".to_owned(),
    }
}

fn compile(source: &Path, out: &Path, link_arguments: &[String]) {
    let mut command = Command::new(variable("RUSTC"));
    command.arg(source).arg("-o").arg(out).args(["--crate-type=bin", "--edition=2024", "--target", TARGET]);
    for option in [
        "panic=abort",
        "opt-level=s",
        "relocation-model=static",
        "target-feature=+crt-static",
        "relro-level=off",
        "strip=symbols",
        "lto=fat",
        "codegen-units=1",
        "force-unwind-tables=no",
        // No start-up files and no library: nothing runs before our own first instruction.
        "link-arg=-nostartfiles",
        "link-arg=-nostdlib",
        "link-arg=-static",
        // Small pages and few segments: every segment's last page is resident memory.
        "link-arg=-Wl,-z,max-page-size=4096,-z,noseparate-code,--build-id=none,--no-eh-frame-hdr",
    ] {
        command.args(["-C", option]);
    }
    // The linker that cargo's configuration names for this target, if it names one.
    if let Ok(linker) = std::env::var("RUSTC_LINKER") {
        command.args(["-C", &format!("linker={linker}")]);
    }
    for argument in link_arguments {
        command.args(["-C", &format!("link-arg={argument}")]);
    }
    let shown = source.display();
    match command.output() {
        Err(error) => {
            println!("cargo::error=cannot run {:?} to compile {shown}: {error}", command.get_program())
        }
        Ok(output) if !output.status.success() => {
            println!("cargo::error=cannot compile {shown} ({}); the compiler says:", output.status);
            for line in String::from_utf8_lossy(&output.stderr).lines() {
                println!("cargo::error={line}");
            }
        }
        Ok(output) => {
            for line in String::from_utf8_lossy(&output.stderr).lines() {
                println!("cargo::warning={line}");
            }
        }
    }
}

fn variable(name: &str) -> String {
    // Cargo sets every variable asked for here.
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: build.rs is run by cargo"))
}
