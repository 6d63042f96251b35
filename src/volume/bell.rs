//! The bells: one `SOCK_SEQPACKET` Unix socket a mailbox (unix(7)). They ring, and tell life from death.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, accept4, bind, listen as listen_on, recv, send,
    socket,
};
use podturn_wire::{PACKET_LENGTH, Packet, names};

use super::Mailboxes;

/// What a connection had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A shim's packet.
    Packet(Packet),
    /// Something that no shim sends.
    Foreign,
    /// The other side is gone. Every packet before that was received.
    Ended,
    /// Nothing, after all.
    Nothing,
}

/// Shims of one mailbox that wait to be accepted: there is one, and one more after a restart.
const BACKLOG: i32 = 16;

/// Listens on the bell of the step of this name. A socket that an earlier coordinator left is removed first.
///
/// # Errors
/// Those of bind(2). `ENAMETOOLONG` cannot be: the path goes through the directory's descriptor.
pub fn listen(mailboxes: &Mailboxes, step: &str) -> io::Result<OwnedFd> {
    listen_at(&mailboxes.directory(), &format!("{step}/{}/{}", names::IN, names::BELL))
}

/// As [`listen`], on a path below a directory.
pub(super) fn listen_at(directory: &impl AsRawFd, name: &str) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
    bind(fd.as_raw_fd(), &UnixAddr::new(path.as_str())?)?;
    // Whoever the step's container runs as; who can reach the path is the mount's business.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    listen_on(&fd, Backlog::new(BACKLOG)?)?;
    Ok(fd)
}

/// Takes one connection, if one waits.
///
/// # Errors
/// Those of accept(2).
pub fn accept(bell: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    match accept4(bell.as_raw_fd(), SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC) {
        // SAFETY: accept4(2) has just made this descriptor, and nobody else knows it.
        Ok(fd) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
        Err(Errno::EAGAIN | Errno::ECONNABORTED | Errno::EINTR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Takes at most one packet, without waiting.
#[must_use]
pub fn receive(connection: BorrowedFd<'_>) -> Received {
    let mut buffer = [0; PACKET_LENGTH + 1];
    match recv(connection.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
        Ok(0) => Received::Ended,
        Ok(length) => Packet::parse(&buffer[..length]).map_or(Received::Foreign, Received::Packet),
        Err(Errno::EAGAIN | Errno::EINTR) => Received::Nothing,
        Err(_) => Received::Ended,
    }
}

/// Rings, without waiting. A full queue has rings enough in it, and the end of a connection is told when it is read.
pub fn ring(connection: impl AsFd) {
    let _ = send(connection.as_fd().as_raw_fd(), b"r", MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
}
