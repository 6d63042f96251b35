//! The bells: real shims of other users ring them, and their deaths are seen.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, send, socket, socketpair};
use nix::unistd::geteuid;
use podturn::process;
use podturn::volume::bell::{self, Received};
use podturn_wire::Packet;

use crate::house::{BUILD, House};

const NOBODY: u32 = 65_534;

fn wait_for(fd: impl AsFd, what: &str) {
    let limit = PollTimeout::from(30_000u16);
    let ready = poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], limit).expect("poll(2)");
    assert!(ready > 0, "{what} within 30 s");
}

fn next(connection: &OwnedFd, what: &str) -> Received {
    wait_for(connection, what);
    bell::receive(connection.as_fd())
}

/// The shim of `build` as it lies in the mailbox, as another user where that is allowed.
fn shim(house: &House) -> Child {
    let mut command = Command::new(house.path("steps/build/in/podturn-shim"));
    command.args(["run", "--", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.spawn().expect("the shim in the mailbox runs")
}

fn listen(house: &House) -> OwnedFd {
    bell::listen(&house.mailboxes(), "build").expect("a bell")
}

/// Waits until the shim has connected.
fn connection(bell: &OwnedFd) -> OwnedFd {
    wait_for(bell, "a connection");
    bell::accept(bell.as_fd()).expect("accept(2)").expect("one waits")
}

#[test]
fn a_shim_of_another_user_arrives_and_its_death_is_seen() {
    let house = House::new();
    let bell = listen(&house);
    assert!(bell::accept(bell.as_fd()).expect("accept(2)").is_none(), "nobody is there yet");
    let mut shim = shim(&house);
    let connection = connection(&bell);
    let Received::Packet(Packet { instance, hello: true }) = next(&connection, "hello") else { panic!("hello first") };
    assert_eq!(next(&connection, "a ring"), Received::Packet(Packet { instance, hello: false }));
    let report = house.mailboxes().read_report(BUILD).expect("a report").expect("written before the ring");
    assert_eq!((report.instance, report.run), (instance, house.run.run));

    let (pid, pidfd) = process::peer(connection.as_fd()).expect("SO_PEERCRED");
    let pidfd = pidfd.expect("a process that lives has a pidfd");
    assert_eq!(pid, shim.id());
    let who = process::examine(pid).expect("it lives");
    assert!(process::is_alive(&who) && !pidfd.is_dead());
    assert_eq!(bell::receive(connection.as_fd()), Received::Nothing);

    process::kill(&who).expect("it lives");
    assert_eq!(next(&connection, "the end"), Received::Ended);
    wait_for(&pidfd, "the death");
    assert!(pidfd.is_dead() && !process::is_alive(&who), "a zombie is dead");
    shim.wait().expect("our own child");
    assert!(process::kill(&who).is_err() && process::examine(pid).is_none());
}

/// The number of a peer that is gone may be another process's by now: there is no witness then, or a dead one.
#[test]
fn a_peer_that_died_before_it_was_looked_at_is_dead() {
    let house = House::new();
    let bell = listen(&house);
    let mut shim = shim(&house);
    wait_for(&bell, "a connection");
    shim.kill().expect("our own child");
    shim.wait().expect("our own child");
    let connection = connection(&bell);
    let (_, pidfd) = process::peer(connection.as_fd()).expect("SO_PEERCRED");
    assert!(pidfd.is_none_or(|pidfd| pidfd.is_dead()));
}

#[test]
fn a_bell_that_a_dead_coordinator_left_is_replaced() {
    let house = House::new();
    drop(listen(&house));
    let bell = listen(&house);
    let mut shim = shim(&house);
    let connection = connection(&bell);
    assert!(matches!(next(&connection, "hello"), Received::Packet(Packet { hello: true, .. })));
    shim.kill().expect("our own child");
    shim.wait().expect("our own child");
}

/// The path of a socket has at most 107 bytes (unix(7)); that of a volume may be longer.
#[test]
fn a_long_path_is_no_obstacle_to_a_bell() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("our own directory");
    let path = directory.path().join("d".repeat(200));
    fs::create_dir(&path).expect("a long name");
    let house = House::at(&path);
    let bell = listen(&house);
    let client = connected(&house.path("steps/build/in"));
    let connection = connection(&bell);
    send(client.as_raw_fd(), b"not a packet", MsgFlags::empty()).expect("send(2)");
    assert_eq!(next(&connection, "a packet"), Received::Foreign);
    drop(client);
    assert_eq!(next(&connection, "the end"), Received::Ended);
}

/// Connects to the bell in this directory, however long its path is.
fn connected(directory: &Path) -> OwnedFd {
    let directory = fs::File::open(directory).expect("a directory");
    let client = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    let path = format!("/proc/self/fd/{}/bell", directory.as_raw_fd());
    connect(client.as_raw_fd(), &UnixAddr::new(path.as_str()).expect("a short path")).expect("connect(2)");
    client
}

#[test]
fn ringing_never_waits() {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).expect("a pair");
    for _ in 0..100_000 {
        bell::ring(&ours); // nobody reads: the queue is full long before the end
    }
    drop(theirs);
    bell::ring(&ours); // and SIGPIPE does not come
}
