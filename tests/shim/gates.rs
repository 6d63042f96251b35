//! `podturn-shim wait`: each gate open, lost and too late, against servers and a coordinator that the test plays.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, accept4, bind, listen, send, socket,
};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::mailbox::{LIMIT, pidfd, readable};

/// A directory `public/` with the shim in it.
struct Public(TempDir);

impl Public {
    fn new() -> Self {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory is writable");
        fs::hard_link(env!("PODTURN_GATE"), directory.path().join("podturn-shim")).expect("the same file system");
        Self(directory)
    }

    /// With phases of the step `build`.
    fn with(phase: &str, conditions: &str) -> Self {
        let public = Self::new();
        public.publish(phase, conditions);
        public
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn publish(&self, phase: &str, conditions: &str) {
        let step = format!("{{\"phase\":\"{phase}\",\"conditions\":{{{conditions}}}}}");
        let file = format!("{{\"version\":1,\"run\":\"0000000000c0ffee\",\"steps\":{{\"build\":{step}}}}}\n");
        fs::write(self.path("aside"), file).expect("it can be written");
        fs::rename(self.path("aside"), self.path("phases.json")).expect("the same directory");
    }

    fn listen(&self) -> OwnedFd {
        let bell = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
        let _ = fs::remove_file(self.path("bell"));
        let directory = fs::File::open(self.0.path()).expect("a directory");
        let path = format!("/proc/self/fd/{}/bell", directory.as_raw_fd()); // short enough for sockaddr_un
        bind(bell.as_raw_fd(), &UnixAddr::new(path.as_str()).expect("short")).expect("a fresh name");
        listen(&bell, Backlog::new(8).expect("a small number")).expect("a bound socket");
        bell
    }

    fn wait(&self, arguments: &[&str]) -> Waiter {
        let mut command = Command::new(self.path("podturn-shim"));
        command.arg("wait").args(arguments).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the shim is executable");
        let lines = BufReader::new(child.stderr.take().expect("a pipe"));
        Waiter { child, lines }
    }
}

fn accept(bell: &OwnedFd) -> OwnedFd {
    assert!(readable(bell.as_fd(), LIMIT), "the waiter should have connected");
    let peer = accept4(bell.as_raw_fd(), SockFlag::SOCK_CLOEXEC).expect("a connection waits");
    // SAFETY: a descriptor that was made just now belongs to nobody else.
    unsafe { std::os::fd::FromRawFd::from_raw_fd(peer) }
}

fn ring(peer: &OwnedFd) {
    send(peer.as_raw_fd(), b"r", MsgFlags::MSG_NOSIGNAL).expect("the waiter is there");
}

struct Waiter {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
}

impl Waiter {
    /// The next thing that it says.
    fn line(&mut self) -> String {
        assert!(!self.lines.buffer().is_empty() || readable(self.lines.get_ref().as_fd(), LIMIT), "it should speak");
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("UTF-8");
        line.trim_end().strip_prefix("podturn-shim: ").unwrap_or(&line).to_owned()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Its exit code, and what it said that was not read yet.
    fn end(mut self) -> (i32, Vec<String>) {
        assert!(readable(pidfd(self.pid()).as_fd(), LIMIT), "it should have ended");
        let status = self.child.wait().expect("it is our child");
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("UTF-8");
        let lines = rest.lines().map(|line| line.strip_prefix("podturn-shim: ").unwrap_or(line).to_owned());
        (status.code().unwrap_or_else(|| 128 + status.signal().expect("it did not exit")), lines.collect())
    }
}

#[test]
fn a_file_that_comes_opens_its_gate() {
    let public = Public::new();
    let file = public.path("ready");
    let name = file.to_str().expect("UTF-8");
    let mut waiter = public.wait(&["--file", name]);
    assert_eq!(waiter.line(), format!("waiting for {name}"));
    fs::write(&file, "").expect("it can be written");
    assert_eq!(waiter.end(), (0, vec![format!("{name} is met")]));
}

#[test]
fn a_server_that_comes_opens_its_gate() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    let server = format!("localhost:{port}");
    let public = Public::new();
    let mut waiter = public.wait(&["--tcp", &server]);
    assert_eq!(waiter.line(), format!("waiting for {server}"));
    let _listener = TcpListener::bind(("127.0.0.1", port)).expect("still free");
    assert_eq!(waiter.end(), (0, vec![format!("{server} is met")]));
}

#[test]
fn a_page_opens_its_gate_once_its_status_is_good() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let url = format!("http://127.0.0.1:{port}/healthz?full");
    let public = Public::new();
    let mut waiter = public.wait(&["--http", &url]);
    // Not an answer at all; too early; moved, which is a page.
    for answer in ["", "HTTP/1.1 503 Service Unavailable\r\n\r\n", "HTTP/1.0 302 Found\r\n\r\n"] {
        let (mut connection, _) = listener.accept().expect("it asks");
        let mut request = [0; 512];
        let length = connection.read(&mut request).expect("a request");
        let request = String::from_utf8_lossy(&request[..length]);
        assert!(request.starts_with("GET /healthz?full HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
        connection.write_all(answer.as_bytes()).expect("it listens");
    }
    assert_eq!(waiter.line(), format!("waiting for {url}"));
    assert_eq!(waiter.end(), (0, vec![format!("{url} is met")]));
}

#[test]
fn a_steps_gate_opens_when_the_bell_rings_and_until_then_the_waiter_sleeps() {
    let public = Public::with("Running", "\"Started\":true");
    let bell = public.listen();
    let mut waiter = public.wait(&["--for", "build=Succeeded", "--for=build=Started"]);
    assert_eq!(waiter.line(), "waiting for build=Succeeded");
    assert_eq!(waiter.line(), "build=Started is met");
    let peer = accept(&bell);
    ring(&peer); // a false ring does nothing
    let wakeups = || {
        let status = fs::read_to_string(format!("/proc/{}/status", waiter.pid())).expect("it lives");
        status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).expect("proc_pid_status(5)").to_owned()
    };
    crate::mailbox::eventually("the waiter asleep", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", waiter.pid()));
        stat.is_ok_and(|stat| stat.contains(") S ")) && wakeups() == wakeups()
    });
    let before = wakeups();
    // An observation, not a wait: ten times as long as it would need to look again by itself.
    assert!(!readable(pidfd(waiter.pid()).as_fd(), 1_000));
    assert_eq!(wakeups(), before, "it woke up although nobody rang");
    public.publish("Succeeded", "\"Started\":true,\"Succeeded\":true,\"Failed\":false");
    ring(&peer);
    assert_eq!(waiter.end(), (0, vec!["build=Succeeded is met".to_owned()]));
}

#[test]
fn a_condition_that_is_lost_ends_the_waiting_at_once() {
    let public = Public::with("Running", "\"Started\":true");
    let bell = public.listen();
    let mut waiter = public.wait(&["--file", "/nowhere/at/all", "--for", "build"]);
    assert_eq!(
        (waiter.line(), waiter.line()),
        ("waiting for /nowhere/at/all".to_owned(), "waiting for build".to_owned())
    );
    let peer = accept(&bell);
    public.publish("Omitted", "\"Started\":false,\"Ready\":false");
    ring(&peer);
    assert_eq!(waiter.end(), (1, vec!["build can no longer be met: the step is Omitted".to_owned()]));
}

#[test]
fn a_waiter_outlives_its_coordinator_and_comes_back_to_the_next_one() {
    let public = Public::with("Pending", "");
    let bell = public.listen();
    let mut waiter = public.wait(&["--for", "build=Started"]);
    assert_eq!(waiter.line(), "waiting for build=Started");
    drop(accept(&bell));
    drop(bell); // it is dead; its socket is still there
    let bell = public.listen();
    let peer = accept(&bell);
    public.publish("Running", "\"Started\":true");
    // Whoever has just connected looks at the file by itself, and may have seen it already and gone.
    let _ = send(peer.as_raw_fd(), b"r", MsgFlags::MSG_NOSIGNAL);
    assert_eq!(waiter.end(), (0, vec!["build=Started is met".to_owned()]));
}

#[test]
fn without_a_coordinator_the_file_is_looked_at() {
    let public = Public::with("Pending", "");
    let mut waiter = public.wait(&["--for", "build=Started"]);
    assert_eq!(waiter.line(), "waiting for build=Started");
    public.publish("Running", "\"Started\":true");
    assert_eq!(waiter.end().0, 0);
}

#[test]
fn all_gates_have_to_be_open_together_and_servers_are_asked_last() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let server = listener.local_addr().expect("bound").to_string();
    let public = Public::with("Running", "\"Started\":true");
    let bell = public.listen();
    let file = public.path("marker");
    let name = file.to_str().expect("UTF-8");
    let mut waiter = public.wait(&["--tcp", &server, "--file", name, "--for", "build=Ready"]);
    assert_eq!(waiter.line(), format!("waiting for {name}"));
    assert_eq!(waiter.line(), "waiting for build=Ready");
    let peer = accept(&bell);
    public.publish("Ready", "\"Started\":true,\"Ready\":true");
    ring(&peer);
    assert_eq!(waiter.line(), "build=Ready is met");
    public.publish("Running", "\"Started\":true"); // a service that is not ready any more
    ring(&peer);
    assert_eq!(waiter.line(), "waiting for build=Ready");
    fs::write(&file, "").expect("it can be written");
    assert_eq!(waiter.line(), format!("{name} is met"));
    assert!(!readable(listener.as_fd(), 0), "nobody was bothered while something else was missing");
    public.publish("Ready", "\"Started\":true,\"Ready\":true");
    ring(&peer);
    assert_eq!(waiter.end(), (0, vec!["build=Ready is met".to_owned(), format!("{server} is met")]));
}

#[test]
fn the_time_is_over_at_every_kind_of_gate() {
    // Taken, and never answered.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent = format!("http://{}/", listener.local_addr().expect("bound"));
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").to_string();
    let public = Public::with("Pending", "");
    for gate in [["--file", "/nowhere"], ["--tcp", &free], ["--http", &silent], ["--for", "build"]] {
        let (code, said) = public.wait(&[gate[0], gate[1], "--timeout", "150ms"]).end();
        let [waits, over] = [format!("waiting for {}", gate[1]), format!("timed out waiting for {}", gate[1])];
        assert_eq!((code, said), (124, vec![waits, over]));
    }
}

#[test]
fn what_cannot_be_waited_for_is_said_at_once() {
    let public = Public::with("Pending", "");
    let cases: [(&[&str], i32, &str); 4] = [
        (&[], 2, "nothing to wait for: give --for, --file, --tcp or --http"),
        (&["--for", "deploy"], 2, "--for deploy: the plan has no such step"),
        (&["--timeout", "5", "--file", "x"], 2, "--timeout takes a duration such as 500ms, 90s, 15m or 1h30m, not 5"),
        (&["--file", "/proc/self/exe/x/../../x"], 124, "waiting for /proc/self/exe/x/../../x"),
    ];
    for (arguments, code, line) in cases {
        let arguments: Vec<&str> =
            arguments.iter().copied().chain(["--timeout", "10ms"].into_iter().filter(|_| code == 124)).collect();
        let (found, said) = public.wait(&arguments).end();
        assert_eq!((found, said.first().map(String::as_str)), (code, Some(line)), "{arguments:?}: {said:?}");
    }
    fs::write(public.path("phases.json"), "{\"version\":1").expect("it can be written");
    let said = vec!["phases.json: not what a coordinator writes".to_owned()];
    assert_eq!(public.wait(&["--for", "build"]).end(), (125, said));
    let bare = Public::new();
    let (code, said) = bare.wait(&["--for", "build"]).end();
    assert_eq!(code, 125);
    assert!(said[0].contains("no such file or directory (ENOENT)") && said[0].contains("public/"), "{said:?}");
}

#[test]
fn a_stop_ends_the_waiting_also_for_a_containers_first_process() {
    let public = Public::with("Pending", "");
    let _bell = public.listen();
    let mut waiter = public.wait(&["--for", "build"]);
    assert_eq!(waiter.line(), "waiting for build");
    kill(waiter.pid(), Signal::SIGTERM).expect("it is there");
    assert_eq!(waiter.end(), (143, Vec::new()));
}

#[test]
fn help_tells_of_every_gate() {
    let public = Public::new();
    let mut command = Command::new(public.path("podturn-shim"));
    let output = command.args(["wait", "--help"]).output().expect("the shim is executable");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success());
    for word in ["--for STEP", "--file FILE", "--tcp ADDR:PORT", "--http URL", "--timeout TIME", "124"] {
        assert!(text.contains(word), "{word} is missing:\n{text}");
    }
}
