//! Compiles the payload and the nano guest with the compiler that builds the suite: no blob in git, no
//! second toolchain. Both land in `$OUT_DIR` and are embedded by `src/payload.rs`. The one crate that the payload
//! uses is compiled from the source that cargo has for it, by the same compiler and flags.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The machine the payload runs on, whatever the flags of the suite itself are.
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=payload");
    println!("cargo::rerun-if-changed=../Cargo.lock");

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
    let hash = match source_of(HASH, &out) {
        Ok(source) => source,
        Err(why) => {
            return println!("cargo::error=cannot find the source of {HASH}, which the payload uses: {why}");
        }
    };
    let library = out.join("libhmac_sha256.rlib");
    // Smaller, for some of its speed: every page of the payload is one in every box.
    let as_library = [
        "--crate-type=rlib",
        "--edition=2021",
        "--crate-name=hmac_sha256",
        "--cfg=feature=\"opt_size\"",
        "--cap-lints=allow",
    ];
    compile(&hash, &library, &as_library);
    let as_program = ["--crate-type=bin", "--edition=2024", "-Clto=fat"];
    let with = format!("--extern=hmac_sha256={}", library.display());
    compile(&sources.join("payload.rs"), &out.join("payload"), &[&as_program[..], &[&with]].concat());
    let script = format!("-Clink-arg=-Wl,-T,{}", sources.join("nano.ld").display());
    compile(&sources.join("nano.rs"), &out.join("nano"), &[&as_program[..], &[&script]].concat());
}

/// The crate that computes SHA-256 in the payload: without a standard library, an allocator, or other crates.
const HASH: &str = "hmac-sha256";

/// The root of a crate, wherever cargo keeps it. A dependency is compiled for the suite, with its flags; the payload
/// has its own, so it takes the same source. Asked of a package that has this dependency alone: of ours cargo might
/// not have brought all.
fn source_of(name: &str, out: &Path) -> Result<PathBuf, String> {
    let (own, package) = (PathBuf::from(variable("CARGO_MANIFEST_DIR")), out.join("uses"));
    let manifest = package.join("Cargo.toml");
    let words = format!(
        "[package]\nname = \"uses\"\nedition = \"2024\"\n[workspace]\n[lib]\npath = \"uses.rs\"\n\
         [dependencies]\n{name} = \"*\"\n"
    );
    // With our lock file it is the version that cargo has verified for us.
    let copied = fs::create_dir_all(&package)
        .and_then(|()| fs::write(package.join("uses.rs"), ""))
        .and_then(|()| fs::write(&manifest, words))
        .and_then(|()| fs::copy(own.join("../Cargo.lock"), package.join("Cargo.lock")));
    copied.map_err(|e| format!("{}: {e}", package.display()))?;
    let mut ask = Command::new(variable("CARGO"));
    ask.args(["metadata", "--format-version=1", "--offline", "--manifest-path"])
        .arg(&manifest)
        .current_dir(&own);
    let said = ask.output().map_err(|e| e.to_string())?;
    if !said.status.success() {
        return Err(String::from_utf8_lossy(&said.stderr).trim().replace('\n', "; "));
    }
    let known: serde_json::Value = serde_json::from_slice(&said.stdout).map_err(|e| e.to_string())?;
    let packages = known["packages"].as_array().into_iter().flatten();
    let mut targets =
        packages.filter(|it| it["name"] == name).filter_map(|it| it["targets"].as_array()).flatten();
    let root = targets.find_map(|it| it["src_path"].as_str().filter(|path| path.ends_with("lib.rs")));
    root.map(PathBuf::from).ok_or_else(|| "cargo metadata does not list it".to_owned())
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

fn compile(source: &Path, out: &Path, arguments: &[&str]) {
    let mut command = Command::new(variable("RUSTC"));
    command.arg(source).arg("-o").arg(out).args(["--target", TARGET]);
    for option in [
        "panic=abort",
        "opt-level=s",
        "relocation-model=static",
        "target-feature=+crt-static",
        "relro-level=off",
        "strip=symbols",
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
    command.args(arguments);
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
