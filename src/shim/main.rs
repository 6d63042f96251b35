//! The shim's executable: its first instruction, what the compiler expects of a C library, and no more. Built by the root
//! package's `build.rs`, without a C library and without a dynamic linker, so that it runs in any image.
//!
//! Built three times: as the parent of a step's command, with `podturn_gate` as the program of `public/`, which only waits,
//! and with `podturn_probe` as the one that answers the kubelet's probes. The whole file of a step's shim is resident while it
//! waits for its turn, and there are as many of them as steps.

#![no_std]
#![no_main]

use podturn_shim::arch;

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {enter}",
    "ud2",
    enter = sym enter,
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "bl {enter}",
    "brk #1",
    enter = sym enter,
);

#[cfg(not(any(podturn_gate, podturn_probe)))]
extern "C" fn enter(stack: *const usize) -> ! {
    static mut BUFFERS: podturn_shim::Buffers = podturn_shim::Buffers::new();
    // SAFETY: `_start` passes the first stack pointer, and this is the only use of the buffers.
    let code = unsafe { podturn_shim::main(stack, &raw mut BUFFERS) };
    podturn_shim::exit(code)
}

#[cfg(podturn_gate)]
extern "C" fn enter(stack: *const usize) -> ! {
    // SAFETY: `_start` passes the first stack pointer.
    let code = unsafe { podturn_shim::gate(stack) };
    podturn_shim::exit(code)
}

#[cfg(podturn_probe)]
extern "C" fn enter(stack: *const usize) -> ! {
    static mut ROOM: podturn_shim::Room = podturn_shim::Room::new();
    // SAFETY: `_start` passes the first stack pointer, and this is the only use of the room.
    let code = unsafe { podturn_shim::answer(stack, &raw mut ROOM) };
    podturn_shim::exit(code)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    podturn_shim::exit(125)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe { arch::copy_up(to, from, length) };
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= length {
        // SAFETY: the caller's promise; nothing of `from` is overwritten before it is read.
        unsafe { arch::copy_up(to, from, length) };
    } else {
        // SAFETY: as above; `length` is above 0 here.
        unsafe { arch::copy_down(to, from, length) };
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe { arch::fill(to, byte as u8, length) };
    to
}

/// Volatile reads here and below: else the compiler would see the function's own meaning in its loop and call itself.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    for at in 0..length {
        // SAFETY: the caller's promise.
        let (a, b) = unsafe { (a.add(at).read_volatile(), b.add(at).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { memcmp(a, b, length) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut length = 0;
    // SAFETY: the caller's promise.
    while unsafe { text.add(length).read_volatile() } != 0 {
        length += 1;
    }
    length
}
