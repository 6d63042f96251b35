//! The system calls that the shim needs, with Rust's types. No policy; section 2 of the manual describes each.

use core::ffi::CStr;

use crate::Errno;
use crate::arch::{number as nr, syscall};
use crate::wait_network::Ip;

/// An open file descriptor. Nothing closes it by itself: the shim's few live as long as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fd(pub(crate) i32);

/// Paths are absolute or relative to the working directory: `AT_FDCWD`.
pub(crate) const HERE: Fd = Fd(-100);

/// Flags of open(2), besides those in [`crate::arch`]. All descriptors of the shim are closed by an exec.
pub(crate) mod open {
    pub(crate) const READ: usize = 0;
    pub(crate) const WRITE: usize = 1;
    pub(crate) const READ_WRITE: usize = 2;
    pub(crate) const CREATE: usize = 0o100;
    pub(crate) const EXCLUSIVE: usize = 0o200;
    pub(crate) const NO_CTTY: usize = 0o400;
    pub(crate) const TRUNCATE: usize = 0o1000;
    pub(crate) const NON_BLOCKING: usize = 0o4000;
    pub(crate) const CLOSE_ON_EXEC: usize = 0o2_000_000;
    pub(crate) const PATH: usize = 0o10_000_000;
}

/// All signals, as a mask of the kernel.
pub(crate) const ALL_SIGNALS: u64 = u64::MAX;

const DO_NOT_WAIT: usize = 0x40;
const NO_SIGPIPE: usize = 0x4000;

fn call(number: usize, arguments: [usize; 6]) -> Result<usize, Errno> {
    // SAFETY: every caller in this module passes pointers that are valid for the call it makes.
    let result = unsafe { syscall(number, arguments) };
    usize::try_from(result).map_err(|_| Errno(u16::try_from(-result).unwrap_or(u16::MAX)))
}

fn call3(number: usize, a: usize, b: usize, c: usize) -> Result<usize, Errno> {
    call(number, [a, b, c, 0, 0, 0])
}

/// A descriptor or -1 as the kernel wants it: sign-extended.
fn int(value: i32) -> usize {
    value as isize as usize
}

pub(crate) fn exit_group(code: u8) -> ! {
    loop {
        let _ = call3(nr::EXIT_GROUP, usize::from(code), 0, 0);
    }
}

pub(crate) fn open_at(directory: Fd, path: &CStr, flags: usize, mode: usize) -> Result<Fd, Errno> {
    let flags = flags | open::CLOSE_ON_EXEC;
    let fd = call(nr::OPENAT, [int(directory.0), path.as_ptr() as usize, flags, mode, 0, 0])?;
    Ok(Fd(fd as i32))
}

pub(crate) fn close(fd: Fd) {
    let _ = call3(nr::CLOSE, int(fd.0), 0, 0);
}

pub(crate) fn read(fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
    call3(nr::READ, int(fd.0), buffer.as_mut_ptr() as usize, buffer.len())
}

pub(crate) fn write(fd: Fd, bytes: &[u8]) -> Result<usize, Errno> {
    call3(nr::WRITE, int(fd.0), bytes.as_ptr() as usize, bytes.len())
}

/// Writes all of it, or fails.
pub(crate) fn write_all(fd: Fd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(fd, bytes)? {
            0 => return Err(Errno::EAGAIN),
            written => bytes = &bytes[written..],
        }
    }
    Ok(())
}

/// The length of a file by lseek(2); it is positioned there.
pub(crate) fn seek_end(fd: Fd) -> Result<usize, Errno> {
    call3(nr::LSEEK, int(fd.0), 0, 2)
}

pub(crate) fn rewind(fd: Fd) -> Result<(), Errno> {
    call3(nr::LSEEK, int(fd.0), 0, 0).map(|_| ())
}

/// Reads a file of at most `buffer.len()` bytes whole. A read that does not fill the buffer has reached the end, as it is
/// with regular files and with those of proc(5) that are read here.
pub(crate) fn read_file<'a>(directory: Fd, path: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let flags = open::READ | open::NON_BLOCKING | open::NO_CTTY;
    let fd = open_at(directory, path, flags, 0)?;
    let length = read(fd, buffer);
    close(fd);
    Ok(&buffer[..length?])
}

/// Puts the file `from` in the place of the file `to`, at once. The two exchange their names, so that the old one stands at
/// `from` then, for the caller to remove: renaming over an existing file makes ext4 allocate and write out the new one's
/// blocks then and there (ext4(5), `auto_da_alloc`), which takes several times as long. The first of its name has nothing to
/// exchange with, and not every file system can; then it is renamed.
pub(crate) fn replace_at(directory: Fd, from: &CStr, to: &CStr) -> Result<(), Errno> {
    const RENAME_EXCHANGE: usize = 2;
    let [at, old, new] = [int(directory.0), from.as_ptr() as usize, to.as_ptr() as usize];
    if call(nr::RENAMEAT2, [at, old, at, new, RENAME_EXCHANGE, 0]).is_err() {
        return call(nr::RENAMEAT2, [at, old, at, new, 0, 0]).map(|_| ());
    }
    Ok(())
}

pub(crate) fn unlink_at(directory: Fd, path: &CStr) -> Result<(), Errno> {
    call3(nr::UNLINKAT, int(directory.0), path.as_ptr() as usize, 0).map(|_| ())
}

pub(crate) fn remove_directory_at(directory: Fd, path: &CStr) -> Result<(), Errno> {
    const AT_REMOVEDIR: usize = 0x200;
    call3(nr::UNLINKAT, int(directory.0), path.as_ptr() as usize, AT_REMOVEDIR).map(|_| ())
}

pub(crate) fn make_directory_at(directory: Fd, path: &CStr) -> Result<(), Errno> {
    call3(nr::MKDIRAT, int(directory.0), path.as_ptr() as usize, 0o755).map(|_| ())
}

pub(crate) fn directory_entries(fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
    call3(nr::GETDENTS64, int(fd.0), buffer.as_mut_ptr() as usize, buffer.len())
}

pub(crate) fn read_link<'a>(path: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let at = [int(HERE.0), path.as_ptr() as usize, buffer.as_mut_ptr() as usize, buffer.len(), 0, 0];
    let length = call(nr::READLINKAT, at)?;
    Ok(&buffer[..length])
}

/// The flags of the descriptor: fcntl(2), `F_GETFD`.
fn flags(fd: Fd) -> Result<usize, Errno> {
    call3(nr::FCNTL, int(fd.0), 1, 0)
}

/// Whether the descriptor is open.
pub(crate) fn is_open(fd: Fd) -> bool {
    flags(fd).is_ok()
}

/// Whether an exec closes the descriptor: `FD_CLOEXEC`.
pub(crate) fn is_closed_by_exec(fd: Fd) -> bool {
    flags(fd).is_ok_and(|flags| flags & 1 != 0)
}

/// A pipe: where to read from, and where to write to.
pub(crate) fn pipe() -> Result<(Fd, Fd), Errno> {
    let mut fds = [0i32; 2];
    call3(nr::PIPE2, fds.as_mut_ptr() as usize, open::CLOSE_ON_EXEC, 0)?;
    Ok((Fd(fds[0]), Fd(fds[1])))
}

/// Makes `to`, which is another number, the same as `fd`, and open over an exec.
pub(crate) fn duplicate(fd: Fd, to: Fd) -> Result<(), Errno> {
    call3(nr::DUP3, int(fd.0), int(to.0), 0).map(|_| ())
}

/// The time of a clock in ns.
fn time_of(clock: usize) -> u64 {
    let mut time = [0u64; 2];
    let _ = call3(nr::CLOCK_GETTIME, clock, time.as_mut_ptr() as usize, 0);
    time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1])
}

/// `CLOCK_BOOTTIME` in ns.
pub(crate) fn boot_time() -> u64 {
    time_of(7)
}

/// `CLOCK_REALTIME_COARSE` in ns: the clock by which file systems stamp (clock_gettime(2)).
pub(crate) fn file_time() -> u64 {
    time_of(5)
}

/// What statx(2) says of a file, as words of struct statx.
#[derive(Clone, Copy)]
pub(crate) struct Stat([u64; 256 / 8]);

impl Stat {
    const INO: usize = 32 / 8;
    const CTIME: usize = 96 / 8;
    const MTIME: usize = 112 / 8;

    #[inline(never)]
    pub(crate) fn of(directory: Fd, path: &CStr) -> Result<Self, Errno> {
        const STATX_MTIME_CTIME_INO: usize = 0x40 | 0x80 | 0x100;
        let mut stat = Self([0; _]);
        let place = stat.0.as_mut_ptr() as usize;
        call(nr::STATX, [int(directory.0), path.as_ptr() as usize, 0, STATX_MTIME_CTIME_INO, place, 0])?;
        Ok(stat)
    }

    /// When the file was changed last, content or name, in ns of `CLOCK_REALTIME`.
    pub(crate) fn changed_at(&self) -> u64 {
        // Seconds, then 32 bits of ns.
        let at = |field: usize| self.0[field].wrapping_mul(1_000_000_000).wrapping_add(self.0[field + 1] & 0xffff_ffff);
        at(Self::CTIME).max(at(Self::MTIME))
    }

    /// A number that is another one when the file was changed, touched or replaced: clocks of file systems may stand still for
    /// some ms, but another file that is there at the same time has another number.
    pub(crate) fn stamp(&self) -> u64 {
        self.0[Self::INO].rotate_left(32) ^ self.0[Self::CTIME] << 32 ^ self.0[Self::CTIME + 1]
    }
}

/// Sets the times of a file, or of a link itself, to the present (utimensat(2)).
pub(crate) fn touch_at(directory: Fd, path: &CStr) {
    const AT_SYMLINK_NOFOLLOW: usize = 0x100;
    let _ = call(nr::UTIMENSAT, [int(directory.0), path.as_ptr() as usize, 0, AT_SYMLINK_NOFOLLOW, 0, 0]);
}

/// Takes a shared lock on one byte of the file. It is this process's own: no child has it, not even between clone and exec,
/// and it ends with the process, or when any descriptor of the file is closed here (fcntl(2), `F_SETLK`).
pub(crate) fn lock_shared(fd: Fd, byte: u64) -> Result<(), Errno> {
    const SET_LOCK: usize = 6;
    // struct flock: `F_RDLCK` and `SEEK_SET`, which are 0, where it begins, its length, and room for a process id.
    let lock = [0, byte, 1, 0];
    call3(nr::FCNTL, int(fd.0), SET_LOCK, lock.as_ptr() as usize).map(|_| ())
}

pub(crate) fn random() -> u64 {
    let mut bytes = [0u8; 8];
    let _ = call3(nr::GETRANDOM, bytes.as_mut_ptr() as usize, bytes.len(), 0);
    u64::from_ne_bytes(bytes)
}

/// `length` bytes of fresh memory, zeroed.
pub(crate) fn memory(length: usize) -> Result<*mut u8, Errno> {
    const READ_WRITE: usize = 3;
    const PRIVATE_ANONYMOUS: usize = 0x22;
    call(nr::MMAP, [0, length, READ_WRITE, PRIVATE_ANONYMOUS, usize::MAX, 0]).map(|address| address as *mut u8)
}

/// Gives back what [`memory`] gave.
pub(crate) fn give_back(memory: *mut u8, length: usize) {
    let _ = call3(nr::MUNMAP, memory as usize, length, 0);
}

// --- processes ---

pub(crate) fn process_id() -> i32 {
    call3(nr::GETPID, 0, 0, 0).map_or(0, |pid| pid as i32)
}

pub(crate) fn parent_id() -> i32 {
    call3(nr::GETPPID, 0, 0, 0).map_or(0, |pid| pid as i32)
}

pub(crate) fn group_id() -> i32 {
    call3(nr::GETPGID, 0, 0, 0).map_or(0, |pid| pid as i32)
}

/// A process group of its own for the caller.
pub(crate) fn lead_group() -> Result<(), Errno> {
    call3(nr::SETPGID, 0, 0, 0).map(|_| ())
}

pub(crate) fn kill(pid: i32, signal: u8) {
    let _ = call3(nr::KILL, int(pid), usize::from(signal), 0);
}

pub(crate) fn prctl(option: usize, value: usize) -> Result<(), Errno> {
    call3(nr::PRCTL, option, value, 0).map(|_| ())
}

pub(crate) fn set_umask(mask: usize) -> usize {
    call3(nr::UMASK, mask, 0, 0).unwrap_or(0)
}

/// What wait4(2) tells of one child.
pub(crate) struct Child {
    pub(crate) pid: i32,
    pub(crate) status: u32,
    /// Processor time in ms.
    pub(crate) cpu: u64,
    /// In KiB.
    pub(crate) max_rss: u64,
}

/// The end of any child, without waiting; `None`: none has ended.
///
/// # Errors
/// `ECHILD` when there is none at all.
pub(crate) fn next_ended_child() -> Result<Option<Child>, Errno> {
    const NO_HANG: usize = 1;
    let mut status = 0u32;
    // struct rusage, see getrusage(2): two timevals, then fourteen numbers, the first of them `ru_maxrss`.
    let mut usage = [0u64; 18];
    let place = (&raw mut status) as usize;
    let pid = call(nr::WAIT4, [usize::MAX, place, NO_HANG, usage.as_mut_ptr() as usize, 0, 0])?;
    let cpu = (usage[0] + usage[2]) * 1000 + (usage[1] + usage[3]) / 1000;
    Ok((pid != 0).then_some(Child { pid: pid as i32, status, cpu, max_rss: usage[4] }))
}

/// # Errors
/// Those of execve(2). It does not return otherwise.
///
/// # Safety
/// `argv` and `envp` are arrays of C strings that end with a null pointer.
pub(crate) unsafe fn execute(path: *const u8, argv: *const *const u8, envp: *const *const u8) -> Errno {
    call3(nr::EXECVE, path as usize, argv as usize, envp as usize).err().unwrap_or(Errno::ENOENT)
}

// --- signals ---

/// Sets the signal mask and returns the one before.
pub(crate) fn set_signal_mask(mask: u64) -> u64 {
    const SET: usize = 2;
    let mut old = 0u64;
    let _ = call(nr::RT_SIGPROCMASK, [SET, (&raw const mask) as usize, (&raw mut old) as usize, 8, 0, 0]);
    old
}

/// Whether `signal` is ignored.
pub(crate) fn is_ignored(signal: u8) -> bool {
    const IGNORE: u64 = 1;
    let mut action = [0u64; 4];
    let _ = call(nr::RT_SIGACTION, [usize::from(signal), 0, action.as_mut_ptr() as usize, 8, 0, 0]);
    action[0] == IGNORE
}

/// Lets `signal` be ignored, or sets its default.
pub(crate) fn set_ignored(signal: u8, ignored: bool) {
    // struct sigaction of the kernel: handler (0 default, 1 ignore), flags, restorer, mask.
    let action = [u64::from(ignored), 0, 0, 0];
    let _ = call(nr::RT_SIGACTION, [usize::from(signal), action.as_ptr() as usize, 0, 8, 0, 0]);
}

/// A descriptor from which the signals of `mask` are read, which the caller has blocked.
pub(crate) fn signal_descriptor(mask: u64) -> Result<Fd, Errno> {
    let flags = open::CLOSE_ON_EXEC | open::NON_BLOCKING;
    let fd = call(nr::SIGNALFD4, [usize::MAX, (&raw const mask) as usize, 8, flags, 0, 0])?;
    Ok(Fd(fd as i32))
}

/// Waits for one blocked signal and takes it, at most `timeout` ns.
pub(crate) fn wait_for_signal(signal: u8, timeout: u64) {
    let mask = 1u64 << (signal - 1);
    let time = [timeout / 1_000_000_000, timeout % 1_000_000_000];
    let _ = call(nr::RT_SIGTIMEDWAIT, [(&raw const mask) as usize, 0, time.as_ptr() as usize, 8, 0, 0]);
}

// --- waiting and talking ---

/// struct pollfd of poll(2).
#[repr(C)]
pub(crate) struct Poll {
    pub(crate) fd: i32,
    pub(crate) events: i16,
    pub(crate) happened: i16,
}

pub(crate) const POLL_IN: i16 = 1;
pub(crate) const POLL_OUT: i16 = 4;
/// An error or the end of a connection, which poll(2) tells unasked.
pub(crate) const POLL_FAILED: i16 = 8 | 16;

/// ppoll(2) without a signal mask; `timeout` in ns. A negative descriptor is passed over.
pub(crate) fn poll(fds: &mut [Poll], timeout: Option<u64>) {
    let time = timeout.map(|ns| [ns / 1_000_000_000, ns % 1_000_000_000]);
    let time = time.as_ref().map_or(core::ptr::null(), |time| time.as_ptr());
    if call(nr::PPOLL, [fds.as_mut_ptr() as usize, fds.len(), time as usize, 0, 0, 0]).is_err() {
        fds.iter_mut().for_each(|poll| poll.happened = 0);
    }
}

/// A `SOCK_SEQPACKET` connection to the socket at `path`, which needs room for a NUL in `sockaddr_un` (unix(7)).
pub(crate) fn connect(path: &[u8]) -> Result<Fd, Errno> {
    const UNIX: usize = 1;
    const SEQPACKET: usize = 5;
    let mut address = [0u8; 110];
    address[..2].copy_from_slice(&1u16.to_ne_bytes());
    let place = address.get_mut(2..2 + path.len()).ok_or(Errno::ENAMETOOLONG)?;
    place.copy_from_slice(path);
    connect_to(UNIX, SEQPACKET, &address)
}

/// The beginning of a TCP connection (tcp(7)): when the descriptor can be written to without `POLL_FAILED`, it is there.
pub(crate) fn connect_tcp(ip: Ip, port: u16) -> Result<Fd, Errno> {
    const STREAM: usize = 1;
    connect_ip(STREAM, ip, port)
}

/// The address from which a packet to `ip` would come, if there is a way to it. Nothing is sent: connect(2) of a datagram
/// socket only chooses the addresses.
pub(crate) fn own_address(ip: Ip) -> Option<Ip> {
    const DATAGRAM: usize = 2;
    let fd = connect_ip(DATAGRAM, ip, 9).ok()?;
    let (mut address, mut length) = ([0u8; 28], 28u32);
    let at = [int(fd.0), address.as_mut_ptr() as usize, (&raw mut length) as usize];
    let named = call3(nr::GETSOCKNAME, at[0], at[1], at[2]);
    close(fd);
    named.ok()?;
    match ip {
        Ip::V4(_) => address[4..].first_chunk().map(|octets| Ip::V4(*octets)),
        Ip::V6(_) => address[8..].first_chunk().map(|octets| Ip::V6(*octets)),
    }
}

fn connect_ip(kind: usize, ip: Ip, port: u16) -> Result<Fd, Errno> {
    let mut address = [0u8; 28];
    address[2..4].copy_from_slice(&port.to_be_bytes());
    let (family, length) = match ip {
        Ip::V4(octets) => {
            address[4..8].copy_from_slice(&octets); // struct sockaddr_in: ip(7)
            (2u16, 16)
        }
        Ip::V6(octets) => {
            address[8..24].copy_from_slice(&octets); // struct sockaddr_in6: ipv6(7)
            (10u16, 28)
        }
    };
    address[..2].copy_from_slice(&family.to_ne_bytes());
    connect_to(usize::from(family), kind, &address[..length])
}

fn connect_to(family: usize, kind: usize, address: &[u8]) -> Result<Fd, Errno> {
    let kind = kind | open::CLOSE_ON_EXEC | open::NON_BLOCKING;
    let fd = Fd(call3(nr::SOCKET, family, kind, 0)? as i32);
    match call3(nr::CONNECT, int(fd.0), address.as_ptr() as usize, address.len()) {
        Ok(_) | Err(Errno::EINPROGRESS) => Ok(fd),
        Err(errno) => {
            close(fd);
            Err(errno)
        }
    }
}

pub(crate) fn send(fd: Fd, packet: &[u8]) -> Result<usize, Errno> {
    let flags = NO_SIGPIPE | DO_NOT_WAIT;
    call(nr::SENDTO, [int(fd.0), packet.as_ptr() as usize, packet.len(), flags, 0, 0])
}

pub(crate) fn receive(fd: Fd, buffer: &mut [u8]) -> Result<usize, Errno> {
    call(nr::RECVFROM, [int(fd.0), buffer.as_mut_ptr() as usize, buffer.len(), DO_NOT_WAIT, 0, 0])
}

/// The foreground process group of a terminal.
pub(crate) fn foreground(fd: Fd) -> Result<i32, Errno> {
    const TIOCGPGRP: usize = 0x540f;
    let mut group = 0i32;
    call3(nr::IOCTL, int(fd.0), TIOCGPGRP, (&raw mut group) as usize)?;
    Ok(group)
}

/// Makes `group` the foreground of a terminal. The caller has SIGTTOU blocked, so it is not stopped for it.
pub(crate) fn set_foreground(fd: Fd, group: i32) -> Result<(), Errno> {
    const TIOCSPGRP: usize = 0x5410;
    call3(nr::IOCTL, int(fd.0), TIOCSPGRP, (&raw const group) as usize).map(|_| ())
}
