//! What `podturn resolve` reads from images, and what it says when it cannot: from files, a real registry on this machine,
//! a real engine. No image is pulled, and nothing outside this machine is asked.

#![cfg(feature = "resolve")]

mod engine;
mod files;
mod layout;
mod registry;
mod server;
mod stub;

use std::path::Path;

use assert_cmd::Command;

/// What a command line came to.
struct Outcome {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// `podturn resolve` for a user who has nothing but this directory: no credentials, no certificates, no proxies.
fn resolve_in(home: &Path, arguments: &[&str]) -> Outcome {
    podturn_in(home, "resolve", arguments)
}

/// The same of another verb.
fn podturn_in(home: &Path, verb: &str, arguments: &[&str]) -> Outcome {
    let mut command = Command::cargo_bin("podturn").expect("the binary is built");
    for name in ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    // The machine's own registries.conf has no say here.
    let conf = home.join("registries.conf");
    if !conf.exists() {
        std::fs::write(&conf, "").expect("writing an empty registries.conf");
    }
    command.env("HOME", home).env("CONTAINERS_REGISTRIES_CONF", conf);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", home.join("bin").display()));
    let output = command.current_dir(home).arg(verb).args(arguments).output().expect("podturn starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("podturn writes UTF-8");
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Outcome {
    /// The map that was printed.
    #[track_caller]
    fn printed(&self) -> &str {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        &self.stdout
    }

    /// What was said of an image that could not be read: nothing is printed then.
    #[track_caller]
    fn refused(&self) -> &str {
        assert_eq!((self.code, self.stdout.as_str()), (Some(1), ""), "{}", self.stderr);
        &self.stderr
    }
}

/// Says loudly what is not tested, or fails where everything has to be here.
fn skip(why: &str) {
    use std::io::Write as _;
    let loud = format!("\n*** NOT TESTED: {why} ***\n\n");
    assert!(std::env::var_os("CI").is_none(), "{loud}");
    // Not by eprintln, which the test runner keeps to itself when a test passes.
    std::io::stderr().write_all(loud.as_bytes()).expect("writing to stderr");
}

/// Whether all of these programs are here; `skip` says which one is not.
fn have(programs: &[(&str, &str)]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for (program, package) in programs {
        if !std::env::split_paths(&path).any(|directory| directory.join(program).exists()) {
            skip(&format!("{program} is not installed: apt-get install {package}"));
            return false;
        }
    }
    true
}
