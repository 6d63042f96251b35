//! Pidfds: a process id that is never used again (pidfd_open(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

/// The pidfd of the peer, since Linux 6.5 (`include/uapi/asm-generic/socket.h`).
const SO_PEERPIDFD: libc::c_int = 77;

/// A process, whatever becomes of its number.
#[derive(Debug)]
pub struct Pidfd(OwnedFd);

impl Pidfd {
    /// The process that has this number now.
    ///
    /// # Errors
    /// Those of pidfd_open(2); `ESRCH`: there is none.
    pub fn open(pid: u32) -> io::Result<Self> {
        // SAFETY: pidfd_open(2) takes two integers and touches no memory of ours.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) };
        let fd = Errno::result(fd)? as RawFd;
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Whether the process has ended. A zombie has.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        let mut poll_fd = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        poll(&mut poll_fd, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Sends SIGKILL.
    ///
    /// # Errors
    /// Those of pidfd_send_signal(2): `EPERM`, `ESRCH`.
    pub fn kill(&self) -> io::Result<()> {
        // SAFETY: pidfd_send_signal(2) without a siginfo takes integers only.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                libc::SIGKILL,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        Errno::result(result).map(drop).map_err(io::Error::from)
    }
}

impl AsFd for Pidfd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Who connected this Unix socket, by the kernel's word: its process id as this process namespace counts (0: it cannot be
/// named here), and a pidfd if there is one.
///
/// # Errors
/// Those of getsockopt(2).
pub fn peer(socket: BorrowedFd<'_>) -> io::Result<(u32, Option<Pidfd>)> {
    let pid = u32::try_from(getsockopt(&socket, PeerCredentials)?.pid()).unwrap_or(0);
    let pidfd = match peer_pidfd(socket) {
        Ok(pidfd) => Some(pidfd),
        // Before Linux 6.5. The number may have been used again since it connected; the caller journals its start time, and
        // a connection whose process is not the one it was is judged by that.
        Err(Errno::ENOPROTOOPT) if pid > 0 => Pidfd::open(pid).ok(),
        // It is gone, or cannot be named here. Whoever has its number now is no witness of its death.
        Err(_) => None,
    };
    Ok((pid, pidfd))
}

fn peer_pidfd(socket: BorrowedFd<'_>) -> Result<Pidfd, Errno> {
    let mut fd: RawFd = -1;
    let mut length = size_of::<RawFd>() as libc::socklen_t;
    // SAFETY: the kernel writes one int, for which there is room, and its length.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, SO_PEERPIDFD, (&raw mut fd).cast(), &raw mut length)
    };
    Errno::result(result)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(Pidfd(unsafe { OwnedFd::from_raw_fd(fd) }))
}
