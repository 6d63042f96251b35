//! x86-64. Calling convention: syscall(2), 'Architecture calling conventions'.

use core::arch::asm;

/// `O_DIRECTORY` of open(2), which is not the same everywhere.
pub const O_DIRECTORY: usize = 0o200_000;
/// `O_NOFOLLOW` of open(2), which is not the same everywhere.
pub const O_NOFOLLOW: usize = 0o400_000;

/// System call numbers: `asm/unistd_64.h`.
#[expect(missing_docs, reason = "the names of section 2 of the manual")]
pub mod number {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const CLOSE: usize = 3;
    pub const LSEEK: usize = 8;
    pub const MMAP: usize = 9;
    pub const MUNMAP: usize = 11;
    pub const RT_SIGACTION: usize = 13;
    pub const RT_SIGPROCMASK: usize = 14;
    pub const IOCTL: usize = 16;
    pub const GETPID: usize = 39;
    pub const SOCKET: usize = 41;
    pub const CONNECT: usize = 42;
    pub const SENDTO: usize = 44;
    pub const RECVFROM: usize = 45;
    pub const GETSOCKNAME: usize = 51;
    pub const CLONE: usize = 56;
    pub const EXECVE: usize = 59;
    pub const WAIT4: usize = 61;
    pub const KILL: usize = 62;
    pub const FCNTL: usize = 72;
    pub const UMASK: usize = 95;
    pub const SETPGID: usize = 109;
    pub const GETPPID: usize = 110;
    pub const GETPGID: usize = 121;
    pub const RT_SIGTIMEDWAIT: usize = 128;
    pub const PRCTL: usize = 157;
    pub const GETDENTS64: usize = 217;
    pub const CLOCK_GETTIME: usize = 228;
    pub const EXIT_GROUP: usize = 231;
    pub const OPENAT: usize = 257;
    pub const MKDIRAT: usize = 258;
    pub const UNLINKAT: usize = 263;
    pub const READLINKAT: usize = 267;
    pub const PPOLL: usize = 271;
    pub const UTIMENSAT: usize = 280;
    pub const SIGNALFD4: usize = 289;
    pub const DUP3: usize = 292;
    pub const PIPE2: usize = 293;
    pub const RENAMEAT2: usize = 316;
    pub const GETRANDOM: usize = 318;
    pub const STATX: usize = 332;
}

/// Makes a system call and returns what the kernel does: a value, or a negated errno.
///
/// # Safety
/// Whatever the call `number` asks of `a`: pointers have to be valid for it.
#[inline]
pub unsafe fn syscall(number: usize, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the registers are those of the convention; the kernel keeps all others but rcx and r11.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5], lateout("rcx") _, lateout("r11") _, options(nostack));
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
    unsafe {
        asm!("syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") number::CLONE as isize => result, in("rdi") flags, in("rsi") stack, in("rdx") 0usize,
            in("r10") 0usize, in("r8") 0usize, in("r12") child, in("r13") argument, lateout("rcx") _,
            lateout("r11") _);
    }
    result
}

/// memcpy(3); also right for an overlap in which `to` comes first.
///
/// # Safety
/// As for memcpy(3).
#[inline]
pub unsafe fn copy_up(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: the caller's promise. The direction flag is clear by the ABI.
    unsafe {
        asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags));
    }
}

/// As `copy_up`, for an overlap in which `from` comes first.
///
/// # Safety
/// As for memmove(3), with `length` above 0.
#[inline]
pub unsafe fn copy_down(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: the caller's promise; the direction flag is clear again afterwards, as the ABI has it.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rcx") length => _, inout("rdi") to.add(length - 1) => _,
            inout("rsi") from.add(length - 1) => _, options(nostack));
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
        asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _, in("al") byte,
            options(nostack, preserves_flags));
    }
}
