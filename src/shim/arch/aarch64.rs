//! 64-bit Arm. Calling convention: syscall(2), 'Architecture calling conventions'. Written beside x86-64 and not run so
//! far (docs/decisions.md).

use core::arch::asm;

/// `O_DIRECTORY` of open(2), which is not the same everywhere.
pub const O_DIRECTORY: usize = 0o40_000;
/// `O_NOFOLLOW` of open(2), which is not the same everywhere.
pub const O_NOFOLLOW: usize = 0o100_000;

/// System call numbers: `asm-generic/unistd.h`.
#[expect(missing_docs, reason = "the names of section 2 of the manual")]
pub mod number {
    pub const DUP3: usize = 24;
    pub const FCNTL: usize = 25;
    pub const IOCTL: usize = 29;
    pub const MKDIRAT: usize = 34;
    pub const UNLINKAT: usize = 35;
    pub const OPENAT: usize = 56;
    pub const CLOSE: usize = 57;
    pub const PIPE2: usize = 59;
    pub const GETDENTS64: usize = 61;
    pub const LSEEK: usize = 62;
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const PPOLL: usize = 73;
    pub const SIGNALFD4: usize = 74;
    pub const READLINKAT: usize = 78;
    pub const EXIT_GROUP: usize = 94;
    pub const CLOCK_GETTIME: usize = 113;
    pub const KILL: usize = 129;
    pub const RT_SIGACTION: usize = 134;
    pub const RT_SIGPROCMASK: usize = 135;
    pub const RT_SIGTIMEDWAIT: usize = 137;
    pub const SETPGID: usize = 154;
    pub const GETPGID: usize = 155;
    pub const UMASK: usize = 166;
    pub const PRCTL: usize = 167;
    pub const GETPID: usize = 172;
    pub const GETPPID: usize = 173;
    pub const SOCKET: usize = 198;
    pub const CONNECT: usize = 203;
    pub const GETSOCKNAME: usize = 204;
    pub const SENDTO: usize = 206;
    pub const RECVFROM: usize = 207;
    pub const MUNMAP: usize = 215;
    pub const CLONE: usize = 220;
    pub const EXECVE: usize = 221;
    pub const MMAP: usize = 222;
    pub const WAIT4: usize = 260;
    pub const RENAMEAT2: usize = 276;
    pub const UTIMENSAT: usize = 88;
    pub const STATX: usize = 291;
    pub const GETRANDOM: usize = 278;
}

/// Makes a system call and returns what the kernel does: a value, or a negated errno.
///
/// # Safety
/// Whatever the call `number` asks of `a`: pointers have to be valid for it.
#[inline]
pub unsafe fn syscall(number: usize, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the registers are those of the convention; the kernel keeps all others.
    unsafe {
        asm!("svc #0", in("x8") number, inlateout("x0") a[0] as isize => result, in("x1") a[1], in("x2") a[2],
            in("x3") a[3], in("x4") a[4], in("x5") a[5], options(nostack));
    }
    result
}

/// clone(2) with a stack of the child's own, on which it calls `child(argument)`. Returns in the parent alone.
///
/// # Safety
/// `stack` is the 16-byte aligned end of memory that only the child uses; `child` may touch what `flags` leave shared.
pub unsafe fn clone(flags: usize, stack: *mut u8, child: extern "C" fn(usize) -> !, argument: usize) -> isize {
    let result: isize;
    // SAFETY: the child has its own stack and never comes back from `child`, so the parent's frame stays as it is.
    // x9 and x10 are no arguments of the call, and the kernel keeps them.
    unsafe {
        asm!("svc #0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x10",
            "blr x9",
            "brk #1",
            "2:",
            in("x8") number::CLONE, inlateout("x0") flags as isize => result, in("x1") stack, in("x2") 0usize,
            in("x3") 0usize, in("x4") 0usize, in("x9") child, in("x10") argument, lateout("x30") _);
    }
    result
}

/// memcpy(3); also right for an overlap in which `to` comes first.
///
/// # Safety
/// As for memcpy(3).
#[inline]
pub unsafe fn copy_up(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("cbz {n}, 3f",
            "2:",
            "ldrb {byte:w}, [{from}], #1",
            "strb {byte:w}, [{to}], #1",
            "subs {n}, {n}, #1",
            "b.ne 2b",
            "3:",
            n = inout(reg) length => _, from = inout(reg) from => _, to = inout(reg) to => _, byte = out(reg) _,
            options(nostack));
    }
}

/// As `copy_up`, for an overlap in which `from` comes first.
///
/// # Safety
/// As for memmove(3), with `length` above 0.
#[inline]
pub unsafe fn copy_down(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("2:",
            "ldrb {byte:w}, [{from}, #-1]!",
            "strb {byte:w}, [{to}, #-1]!",
            "subs {n}, {n}, #1",
            "b.ne 2b",
            n = inout(reg) length => _, from = inout(reg) from.add(length) => _, to = inout(reg) to.add(length) => _,
            byte = out(reg) _, options(nostack));
    }
}

/// memset(3).
///
/// # Safety
/// As for memset(3).
#[inline]
pub unsafe fn fill(to: *mut u8, byte: u8, length: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!("cbz {n}, 3f",
            "2:",
            "strb {byte:w}, [{to}], #1",
            "subs {n}, {n}, #1",
            "b.ne 2b",
            "3:",
            n = inout(reg) length => _, to = inout(reg) to => _, byte = in(reg) u32::from(byte), options(nostack));
    }
}
