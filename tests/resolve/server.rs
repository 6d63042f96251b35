//! A real registry (Debian's `docker-registry`) on this machine, with a configuration and a store of its own.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Whom the registry lets in, where it asks.
pub(crate) const USER: &str = "builder";
pub(crate) const PASSWORD: &str = "correct horse";

/// What a registry needs to be started with.
#[derive(Clone, Copy, Default)]
pub(crate) struct Needs {
    pub(crate) password: bool,
    pub(crate) tls: bool,
}

/// A running registry, which ends with the value.
pub(crate) struct Registry {
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
    directory: PathBuf,
    needs: Needs,
    process: Child,
}

impl Registry {
    /// Starts one; `None` where what it takes is not installed, which is said loudly.
    pub(crate) fn start(home: &Path, needs: Needs) -> Option<Self> {
        let programs = [
            ("docker-registry", "docker-registry"),
            ("htpasswd", "apache2-utils"),
            ("skopeo", "skopeo"),
            ("openssl", "openssl"),
        ];
        if !crate::have(&programs) {
            return None;
        }
        let directory = home.join("registry");
        for name in ["store", "trust"] {
            std::fs::create_dir_all(directory.join(name)).expect("making a directory");
        }
        if needs.tls {
            certificate(&directory);
        }
        // The port is free now; whoever takes it in between makes the registry say so, and another one is tried.
        let started = (0..10).find_map(|_| {
            let port = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port();
            let host = format!("127.0.0.1:{port}");
            std::fs::write(directory.join("config.yml"), configuration(&directory, &host, needs)).expect("its file");
            serve(&directory).map(|process| (host, process))
        });
        let (host, process) = started.expect("the registry starts");
        Some(Self { host, directory, needs, process })
    }

    /// Puts an image of a layout there, with all that it names.
    pub(crate) fn push(&self, layout: &str, name: &str) {
        let mut command = Command::new("skopeo");
        command.args(["--insecure-policy", "copy", "--all", "--quiet", "--preserve-digests"]);
        if self.needs.password {
            command.arg("--dest-creds").arg(format!("{USER}:{PASSWORD}"));
        }
        command.arg(format!("--dest-tls-verify={}", self.needs.tls)).arg("--dest-cert-dir").arg(self.trust());
        command.arg(layout).arg(format!("docker://{}/{name}", self.host));
        // Who is another user by setpriv(1) may have no right to look into the /run that is meant for him.
        command
            .env("XDG_RUNTIME_DIR", &self.directory)
            .env("HOME", &self.directory)
            .env("CONTAINERS_REGISTRIES_CONF", "/dev/null");
        let output = command.output().expect("skopeo starts");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A directory with the certificate of the authority that vouches for the registry, and nothing else.
    pub(crate) fn trust(&self) -> PathBuf {
        self.directory.join("trust")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn configuration(directory: &Path, host: &str, needs: Needs) -> String {
    let directory = directory.display();
    let mut text = format!(
        "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {directory}/store}}}}\n\
         http:\n  addr: {host}\n  secret: of no use\n"
    );
    if needs.tls {
        text.push_str(&format!("  tls: {{certificate: {directory}/server.crt, key: {directory}/server.key}}\n"));
    }
    if needs.password {
        text.push_str(&format!("auth: {{htpasswd: {{realm: test, path: {directory}/htpasswd}}}}\n"));
    }
    text
}

/// Starts the registry and waits until it listens. `None`: it ended before.
fn serve(directory: &Path) -> Option<Child> {
    run(directory, "htpasswd", &["-Bbc", "htpasswd", USER, PASSWORD]);
    let mut process = Command::new("docker-registry")
        .args(["serve", "config.yml"])
        .current_dir(directory)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("docker-registry starts");
    let mut lines = BufReader::new(process.stderr.take().expect("it is piped")).lines();
    let listens = lines.by_ref().map_while(Result::ok).any(|line| line.contains("listening on"));
    if !listens {
        process.wait().expect("it has ended");
        return None;
    }
    // It goes on to write; somebody has to read.
    std::thread::spawn(move || lines.for_each(drop));
    Some(process)
}

/// An authority of our own, and a certificate for this machine's address that it signed.
fn certificate(directory: &Path) {
    let names = "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n";
    std::fs::write(directory.join("names.cnf"), names).expect("writing a file");
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let authority =
        ["req", "-x509", "-days", "2", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "trust/ca.crt"];
    run(directory, "openssl", &[&authority[..], &key].concat());
    let request = ["req", "-subj", "/CN=registry", "-keyout", "server.key", "-out", "server.csr"];
    run(directory, "openssl", &[&request[..], &key].concat());
    let sign = "x509 -req -days 2 -in server.csr -CA trust/ca.crt -CAkey ca.key -set_serial 1 -extfile names.cnf -out server.crt";
    run(directory, "openssl", &sign.split(' ').collect::<Vec<_>>());
}

fn run(directory: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(directory).output().expect(program);
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}
