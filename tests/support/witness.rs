//! The program that tells what it sees and uses a known amount of everything, `tests/bin/witness.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Where it lies: the one that `PODTURN_TEST_WITNESS` names, for a user who cannot build it (`.ci/as-user`), else the one of this
/// build.
pub(crate) fn witness() -> PathBuf {
    if let Some(built) = std::env::var_os("PODTURN_TEST_WITNESS") {
        return built.into();
    }
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        // One test program alone (`cargo test --test NAME`) does not build examples.
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--offline", "--example", "witness", "--manifest-path"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
            .status()
            .expect("cargo is there, since it runs this test");
        assert!(status.success(), "the witness could not be compiled");
        Path::new(env!("CARGO_BIN_EXE_podturn")).with_file_name("examples").join("witness")
    });
    built.clone()
}
