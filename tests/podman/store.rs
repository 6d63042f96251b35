//! podman, in a store of its own: images, pods and volumes of one test, gone when the test is. Nobody's images,
//! containers or configuration are read or changed.
//!
//! Belongs here: what podman needs and how it is asked. Does not belong here: what the tests expect.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// Seconds after which a podman command that has not ended hangs. Nothing here needs a tenth of it.
const LIMIT: &str = "180";

/// The applets that the stand-in images have.
const APPLETS: [&str; 16] = [
    "sh", "echo", "cat", "cp", "grep", "sleep", "mkdir", "mkfifo", "true", "test", "touch", "rm", "wc", "seq", "tr",
    "tee",
];

/// Stand-ins for images that a test machine cannot pull: same name, same command lines, made of busybox.
const MVN: &str = "#!/bin/sh\nset -e\necho \"[INFO] $*\"\ngrep -q '<finalName>app</finalName>' /work/pom.xml\n\
                   mkdir -p /work/target\ncp /work/App.java /work/target/app.jar\necho '[INFO] BUILD SUCCESS'\n";
const JAVA: &str = "#!/bin/sh\ngrep -o 'the application runs' \"$2\"\n";

const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/podman/containers.conf");

/// A store with the images of the manifests in it.
pub(crate) struct Store {
    directory: tempfile::TempDir,
}

impl Store {
    /// A new store; `None` where podman cannot run, which is said on stderr, and is a failure where `CI` is set.
    pub(crate) fn new() -> Option<Self> {
        // Short, because conmon makes Unix sockets below it, and not below the target directory, which may be long.
        let directory = tempfile::Builder::new().prefix("podturn-").tempdir_in("/tmp").expect("making a directory");
        let store = Self { directory };
        if let Err(why) = store.can_run() {
            let loud = format!("\n*** REAL PODS ARE NOT TESTED: {why} ***\n\n");
            assert!(std::env::var_os("CI").is_none(), "{loud}");
            // Not by eprintln, which the test runner keeps to itself when a test passes.
            std::io::stderr().write_all(loud.as_bytes()).expect("writing to stderr");
            return None;
        }
        store.add_images();
        Some(store)
    }

    fn can_run(&self) -> Result<(), String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("this needs root (rootful podman)".to_owned());
        }
        for (program, package) in [("podman", "podman"), ("runc", "runc"), ("catatonit", "catatonit")] {
            let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
                .any(|directory| directory.join(program).exists());
            if !found {
                return Err(format!("{program} is not installed: apt-get install {package}"));
            }
        }
        if !Path::new("/bin/busybox").exists() {
            return Err("/bin/busybox is not installed: apt-get install busybox-static".to_owned());
        }
        let info = self.try_podman(&["info"]);
        if info.status.success() { Ok(()) } else { Err(format!("podman info: {}", text(&info.stderr))) }
    }

    /// Runs a podman command to its end.
    pub(crate) fn try_podman(&self, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command.args(arguments).output().unwrap_or_else(|error| panic!("starting {command:?}: {error}"))
    }

    /// Runs a podman command that has to succeed, and gives its stdout.
    pub(crate) fn podman(&self, arguments: &[&str]) -> String {
        let output = self.try_podman(arguments);
        assert!(output.status.success(), "podman {arguments:?}: {}\n{}", output.status, text(&output.stderr));
        text(&output.stdout)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("timeout");
        command.args([LIMIT, "podman", "--storage-driver", "overlay"]);
        for (option, name) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(self.directory.path().join(name));
        }
        command.env("CONTAINERS_CONF", CONFIGURATION).stdin(Stdio::null());
        command
    }

    /// A directory for PATH in which `podman` is that of this store.
    pub(crate) fn path(&self) -> PathBuf {
        let path = self.directory.path().join("bin");
        if !path.exists() {
            std::fs::create_dir(&path).expect("a fresh directory");
            let words: Vec<String> = [self.command().get_program()]
                .into_iter()
                .chain(self.command().get_args())
                .map(|word| word.to_str().expect("UTF-8").to_owned())
                .collect();
            let podman = words.join(" ");
            let podman = podman.split_once(" podman ").expect("it is in timeout").1;
            let own = "CONTAINERS_CONF=".to_owned() + CONFIGURATION;
            // As in `play`: a network of its own would need more of the machine.
            let script = format!(
                "#!/bin/sh\nexport {own} PATH=\"${{PATH#*:}}\"\n[ \"$1 $2\" != 'kube play' ] || \
                 {{ shift 2; set -- kube play --network host \"$@\"; }}\nexec podman {podman} \"$@\"\n"
            );
            add_script(&path.join("podman"), &script);
        }
        path
    }

    fn add_images(&self) {
        let podturn = format!("localhost/podturn:{}", env!("CARGO_PKG_VERSION"));
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/Containerfile");
        let recipe = std::fs::read_to_string(recipe).expect("reading images/Containerfile");
        self.add_image(&podturn, &recipe, |files| {
            install(program(), &files.join("podturn"));
            install(&program().with_file_name("podturn.cdx.json"), &files.join("podturn.cdx.json"));
        });
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/Containerfile.shim");
        let recipe = std::fs::read_to_string(recipe).expect("reading images/Containerfile.shim");
        let shim = format!("localhost/podturn-shim:{}", env!("CARGO_PKG_VERSION"));
        self.add_image(&shim, &recipe, |files| {
            for name in ["podturn-shim", "podturn-probe"] {
                install(&program().with_file_name(name), &files.join(name));
            }
        });
        let of_files = "FROM scratch\nCOPY . /\n";
        self.add_image("localhost/hello-world:latest", of_files, |files| install(hello(), &files.join("hello")));
        self.add_image("localhost/busybox:1.37", of_files, add_busybox);
        for name in ["localhost/python:3.12-slim", "localhost/python:3.13-slim"] {
            self.add_image(name, of_files, add_busybox);
        }
        self.add_image("localhost/maven:3.9-eclipse-temurin-21", of_files, |files| {
            add_busybox(files);
            add_script(&files.join("bin/mvn"), MVN);
        });
        self.add_image("localhost/eclipse-temurin:21-jre", of_files, |files| {
            add_busybox(files);
            add_script(&files.join("bin/java"), JAVA);
        });
    }

    /// An image of the files that `fill` lays out.
    fn add_image(&self, name: &str, recipe: &str, fill: impl FnOnce(&Path)) {
        let files = tempfile::tempdir_in(self.directory.path()).expect("making a directory");
        fill(files.path());
        let containerfile = self.directory.path().join("Containerfile");
        std::fs::write(&containerfile, recipe).expect("writing a Containerfile");
        let [containerfile, files] = [&containerfile, files.path()].map(|path| path.to_str().expect("a path in UTF-8"));
        self.podman(&["build", "--quiet", "--tag", name, "--file", containerfile, files]);
    }

    /// Plays a manifest whose only pod has this name.
    pub(crate) fn play(&self, pod: &str, manifest: &str) -> Pod<'_> {
        let path = self.directory.path().join(format!("{pod}.yaml"));
        std::fs::write(&path, manifest).expect("writing the manifest");
        // A network of its own would need more of the machine than a test may ask for.
        self.podman(&["kube", "play", "--network", "host", path.to_str().expect("a path in UTF-8")]);
        Pod { store: self, name: pod.to_owned() }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        for arguments in [["pod", "rm", "--all", "--force"], ["volume", "rm", "--all", "--force"]] {
            let _ = self.try_podman(&arguments);
        }
        // The store's bind mount of itself.
        let _ = nix::mount::umount2(&self.directory.path().join("root/overlay"), nix::mount::MntFlags::MNT_DETACH);
    }
}

/// A pod that was played.
pub(crate) struct Pod<'a> {
    store: &'a Store,
    name: String,
}

impl Pod<'_> {
    fn container(&self, step: &str) -> String {
        format!("{}-{step}", self.name)
    }

    /// Waits until the step's container has ended, and gives its exit code.
    pub(crate) fn exit_code(&self, step: &str) -> u8 {
        let code = self.store.podman(&["wait", &self.container(step)]);
        code.trim().parse().unwrap_or_else(|_| panic!("podman wait says {code}"))
    }

    /// The exit codes of all these containers, once they have ended.
    pub(crate) fn exit_codes<'s>(&self, steps: &[&'s str]) -> BTreeMap<&'s str, u8> {
        steps.iter().map(|&step| (step, self.exit_code(step))).collect()
    }

    fn logs(&self, step: &str) -> Output {
        let output = self.store.try_podman(&["logs", &self.container(step)]);
        assert!(output.status.success(), "podman logs: {}", text(&output.stderr));
        output
    }

    /// What the container has written to stdout: the command's, since shims and coordinator write nothing there.
    pub(crate) fn output(&self, step: &str) -> String {
        text(&self.logs(step).stdout)
    }

    /// What the container has written to stderr, the last line of which is the shim's.
    pub(crate) fn errors(&self, step: &str) -> String {
        text(&self.logs(step).stderr)
    }

    /// Waits until the container has written this line.
    pub(crate) fn wait_for_line(&self, step: &str, line: &str) {
        let mut command = self.store.command();
        command.args(["logs", "--follow", &self.container(step)]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut logs = command.spawn().expect("starting podman logs");
        let mut lines = BufReader::new(logs.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        let found = lines.any(|said| said == line);
        let _ = logs.kill();
        let _ = logs.wait();
        assert!(found, "{step} never wrote {line:?}, but:\n{}", self.output(step));
    }

    /// Kills the first process of a container, which is the shim or the coordinator.
    pub(crate) fn kill(&self, step: &str) {
        self.store.podman(&["kill", "--signal", "KILL", &self.container(step)]);
    }

    /// Runs podturn in the coordinator's container, as `kubectl exec` does, and gives its stdout.
    pub(crate) fn podturn(&self, arguments: &[&str]) -> String {
        self.store.podman(&[&["exec", &self.container("podturn"), "/bin/podturn"], arguments].concat())
    }

    /// The same on a terminal, not started: `podman exec -it`.
    pub(crate) fn podturn_on_a_terminal(&self, arguments: &[&str]) -> Command {
        let limited = self.store.command();
        let mut command = Command::new("timeout");
        command.arg("--foreground"); // else it would keep podman from the terminal
        command.args(limited.get_args()).env("CONTAINERS_CONF", CONFIGURATION);
        command.args(["exec", "--interactive", "--tty", &self.container("podturn"), "/bin/podturn"]).args(arguments);
        command
    }

    /// Waits until `podturn why` says this of a step.
    pub(crate) fn wait_for_why(&self, step: &str, words: &str) {
        let said = || self.podturn(&["why", step]);
        assert!((0..200).any(|_| said().contains(words)), "{step} never was {words}, but:\n{}", said());
    }

    /// Stops every container of the pod: SIGTERM, and SIGKILL after 30 s.
    pub(crate) fn stop(&self) {
        self.store.podman(&["pod", "stop", "--time", "30", &self.name]);
    }

    /// SIGTERM to these containers, one after another, as a kubelet that deletes the pod does it. One that the first signal has
    /// ended by its turn gets none.
    pub(crate) fn terminate(&self, containers: &[&str]) {
        for container in containers {
            self.store.try_podman(&["kill", "--signal", "TERM", &self.container(container)]);
        }
    }

    /// Where a volume is on this machine whose name begins with the pod's.
    pub(crate) fn own_volume(&self, name: &str) -> PathBuf {
        self.volume(&format!("{}-{name}", self.name))
    }

    /// Where a volume of the pod is on this machine.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.store.podman(&["volume", "inspect", "--format", "{{.Mountpoint}}", name]).trim().into()
    }

    /// `Exited` once nothing of the pod runs.
    pub(crate) fn state(&self) -> String {
        self.store.podman(&["pod", "inspect", "--format", "{{.State}}", &self.name]).trim().to_owned()
    }
}

/// The static program that the image consists of, built once by `images/build`.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut build = Command::new(root.join("images/build"));
        // What the cargo that runs this test has set for its own crates is not for those of another build.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
                build.env_remove(name);
            }
        }
        let output = build.arg("program").output().expect("starting images/build");
        assert!(output.status.success(), "images/build program:\n{}", text(&output.stderr));
        root.join("target/image/podturn")
    })
}

/// The static program of the image FROM scratch.
fn hello() -> &'static Path {
    static HELLO: OnceLock<PathBuf> = OnceLock::new();
    HELLO.get_or_init(|| {
        let hello = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hello");
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.args(["--edition", "2024", "-C", "target-feature=+crt-static", "-o"]).arg(&hello);
        let status = rustc.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/podman/hello.rs")).status();
        assert!(status.is_ok_and(|status| status.success()), "compiling hello.rs");
        hello
    })
}

fn install(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap_or_else(|error| panic!("copying {}: {error}", from.display()));
}

fn add_busybox(files: &Path) {
    let bin = files.join("bin");
    std::fs::create_dir(&bin).expect("making a directory");
    install(Path::new("/bin/busybox"), &bin.join("busybox"));
    for applet in APPLETS {
        symlink("busybox", bin.join(applet)).expect("making a link");
    }
}

pub(crate) fn add_script(path: &Path, content: &str) {
    std::fs::write(path, content).expect("writing a script");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("making a script executable");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
