//! Connections to servers, for those who only want to know whether one answers: the gate and the probe. Everything has to
//! happen `until` a time of `calls::boot_time`.

use crate::Errno;
use crate::calls::{self, Fd, POLL_FAILED, POLL_OUT, Poll};
use crate::wait_network::Ip;

/// A connection that was made, which is closed when it is dropped.
pub(crate) struct Connection(pub(crate) Fd);

impl Connection {
    /// # Errors
    /// `ECONNREFUSED`, `EAGAIN` when the time is over, and those of socket(2) and connect(2).
    pub(crate) fn make(ip: Ip, port: u16, until: u64) -> Result<Self, Errno> {
        let made = Self(calls::connect_tcp(ip, port)?);
        let happened = wait(made.0, POLL_OUT, until);
        if happened & POLL_FAILED != 0 {
            return Err(Errno::ECONNREFUSED);
        }
        if happened & POLL_OUT != 0 { Ok(made) } else { Err(Errno::EAGAIN) }
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// Those of send(2); `EAGAIN` when it has no room: a connection that was made just now has some.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<(), Errno> {
        if calls::send(self.0, bytes)? == bytes.len() { Ok(()) } else { Err(Errno::EAGAIN) }
    }

    /// Receives what there is, at least a byte. A server that has answered may close its side at once: what it said is
    /// there all the same.
    ///
    /// # Errors
    /// Those of recv(2); `EAGAIN` when the time is over, `ECONNRESET` at the end.
    pub(crate) fn receive(&self, buffer: &mut [u8], until: u64) -> Result<usize, Errno> {
        if wait(self.0, calls::POLL_IN, until) == 0 {
            return Err(Errno::EAGAIN);
        }
        match calls::receive(self.0, buffer)? {
            0 => Err(Errno::ECONNRESET),
            received => Ok(received),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        calls::close(self.0);
    }
}

/// Waits until the connection can be read from or written to, or fails. Returns what happened.
fn wait(fd: Fd, events: i16, until: u64) -> i16 {
    let mut fds = [Poll { fd: fd.0, events, happened: 0 }];
    calls::poll(&mut fds, Some(until.saturating_sub(calls::boot_time())));
    fds[0].happened
}
