//! Compiles the shim for the target and hands its path to the crate as `PODTURN_SHIM`; the program of `public/`, which only
//! waits, as `PODTURN_GATE`; and the one that answers the kubelet's probes as `PODTURN_PROBE`.
//!
//! The shim is no cargo target of its own: it needs flags that no other binary of the build may get (no C library, no
//! start files), and its bytes have to exist before the main program, which carries them, is compiled.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    for source in ["build.rs", "src/wire", "src/shim"] {
        println!("cargo:rerun-if-changed={source}");
    }
    let out = PathBuf::from(variable("OUT_DIR"));
    let wire = library(&out, "podturn_wire", "src/wire/lib.rs", &[]);
    let shim = library(&out, "podturn_shim", "src/shim/lib.rs", &[("podturn_wire", &wire)]);
    for (program, variable, flags) in [
        ("podturn-shim", "PODTURN_SHIM", &[][..]),
        ("podturn-gate", "PODTURN_GATE", &["--cfg", "podturn_gate"]),
        ("podturn-probe", "PODTURN_PROBE", &["--cfg", "podturn_probe"]),
    ] {
        let program = out.join(program);
        link(&out, &shim, &program, flags);
        println!("cargo:rustc-env={variable}={}", program.display());
    }
}

/// Compiles one of the three programs that `src/shim/main.rs` is.
fn link(out: &Path, shim: &Path, program: &Path, flags: &[&str]) {
    let mut rustc = rustc("podturn_shim_program", "src/shim/main.rs", "bin", &[("podturn_shim", shim)]);
    rustc.args(["-C", "lto=fat", "-C", "strip=symbols", "-C", "relocation-model=static"]).args(flags);
    let script = Path::new("src/shim/link.ld").display();
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie"] {
        rustc.arg("-C").arg(format!("link-arg={argument}"));
    }
    rustc.arg("-C").arg(format!("link-arg=-Wl,--build-id=none,-z,norelro,-z,max-page-size=4096,-T,{script}"));
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut argument = OsString::from("linker=");
        argument.push(linker);
        rustc.arg("-C").arg(argument);
    }
    run(rustc.arg("-L").arg(out).arg("-o").arg(program));
    cut_behind_segments(program);
}

/// Takes away what follows the last segment: the section headers, which only tools read, and the padding before them
/// (elf(5); both architectures are 64 bit and little endian).
fn cut_behind_segments(program: &Path) {
    let mut elf = std::fs::read(program).expect("it was linked just now");
    let number = |at: usize, length: usize| {
        elf[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    let (table, size, count) = (number(0x20, 8), number(0x36, 2), number(0x38, 2)); // e_phoff, e_phentsize, e_phnum
    let ends = (0..count).map(|at| table + at * size).filter(|header| number(header + 0x20, 8) > 0);
    let end = ends.map(|header| number(header + 8, 8) + number(header + 0x20, 8)).max(); // p_offset + p_filesz
    elf.truncate(end.expect("a program has segments"));
    elf[0x28..0x30].fill(0); // e_shoff
    elf[0x3c..0x40].fill(0); // e_shnum, e_shstrndx
    std::fs::write(program, elf).expect("it was written just now");
}

/// Compiles a crate of the shim's and returns where it lies.
fn library(out: &Path, name: &str, source: &str, dependencies: &[(&str, &Path)]) -> PathBuf {
    let path = out.join(format!("lib{name}.rlib"));
    run(rustc(name, source, "rlib", dependencies).arg("-L").arg(out).arg("-o").arg(&path));
    path
}

fn rustc(name: &str, source: &str, kind: &str, dependencies: &[(&str, &Path)]) -> Command {
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--edition", "2024", "--crate-name", name, "--crate-type", kind, source]);
    rustc.arg("--target").arg(variable("TARGET"));
    rustc.args(["-C", "opt-level=z", "-C", "codegen-units=1", "-C", "panic=abort", "-C", "force-unwind-tables=no"]);
    for (dependency, path) in dependencies {
        let mut argument = OsString::from(format!("{dependency}="));
        argument.push(path);
        rustc.arg("--extern").arg(argument);
    }
    rustc
}

fn run(command: &mut Command) {
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => panic!("the shim could not be compiled ({status}): {command:?}"),
        Err(error) => panic!("the shim's compiler could not be started ({error}): {command:?}"),
    }
}

fn variable(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name} for build scripts"))
}
