//! What differs between processor architectures: how to make a system call, its numbers, and three string operations.
//! Nothing here decides anything; one file an architecture.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub use aarch64::*;
#[cfg(target_arch = "x86_64")]
pub use x86_64::*;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("podturn-shim makes its own system calls and knows x86_64 and aarch64 only: add src/shim/arch/ARCH.rs");
