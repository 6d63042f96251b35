//! What the kernel handed to the shim at its start, and the environment that the command gets.

use core::ffi::CStr;

use crate::Errno;
use crate::calls;
use podturn_wire::json::digits;

/// The names that the shim sets, whatever they were before.
const OWN: [&[u8]; 3] = [b"PODTURN_STEP=", b"PODTURN_ATTEMPT=", b"PODTURN_OUTPUTS="];

/// Room for the path of the outputs. The volume's own paths are below 100 bytes.
const OUTPUTS_MAX: usize = 1024;

/// As many pointers have room without memory of their own: the environment of a pod in a namespace with few services.
const POINTERS: usize = 128;

/// The values of the shim's own variables: C strings, `NAME=value`.
#[repr(C)]
pub(crate) struct Variables {
    step: [u8; 13 + 256],
    attempt: [u8; 16 + 20 + 1],
    outputs: [u8; OUTPUTS_MAX],
    pointers: [*const u8; POINTERS],
}

impl Variables {
    pub(crate) const fn new() -> Self {
        Self { step: [0; _], attempt: [0; _], outputs: [0; _], pointers: [core::ptr::null(); _] }
    }

    /// Sets what stays the same: the step's name and the directory of its outputs.
    pub(crate) fn set_mailbox(&mut self, step: &[u8], outputs: &[&[u8]]) -> Result<(), Errno> {
        put(&mut self.step, OWN[0], &[step])?;
        put(&mut self.outputs, OWN[2], outputs)
    }

    pub(crate) fn set_attempt(&mut self, attempt: u32) {
        let digits = digits(u64::from(attempt));
        // Ten digits always fit.
        let _ = put(&mut self.attempt, OWN[1], &[digits.as_str().as_bytes()]);
    }
}

fn put(buffer: &mut [u8], name: &[u8], parts: &[&[u8]]) -> Result<(), Errno> {
    let mut length = 0;
    for part in core::iter::once(&name).chain(parts).chain(&[&b"\0"[..]]) {
        let place = buffer.get_mut(length..length + part.len()).ok_or(Errno::ENAMETOOLONG)?;
        place.copy_from_slice(part);
        length += part.len();
    }
    Ok(())
}

/// Arguments and environment, as the kernel lays them on the first stack of a process.
#[derive(Clone, Copy)]
pub(crate) struct Start {
    count: usize,
    argv: *const *const u8,
}

impl Start {
    /// # Safety
    /// `stack` is the stack pointer with which the process began.
    pub(crate) unsafe fn new(stack: *const usize) -> Self {
        // SAFETY: the caller's promise; see the processor supplement of the System V ABI, 'Initial Stack'.
        unsafe { Self { count: *stack, argv: stack.add(1).cast() } }
    }

    pub(crate) fn arguments(self) -> impl Iterator<Item = &'static [u8]> {
        // SAFETY: the kernel wrote `count` pointers to C strings that live as long as the process.
        (0..self.count).map(move |at| unsafe { string(*self.argv.add(at)) })
    }

    /// The arguments from place `at` on, with the null pointer at their end.
    pub(crate) fn arguments_from(self, at: usize) -> *const *const u8 {
        // SAFETY: the null pointer behind the last argument is part of the array.
        unsafe { self.argv.add(at.min(self.count)) }
    }

    /// Ends the array of arguments before place `at`, so that what stands before it is one of its own.
    pub(crate) fn end_arguments(self, at: usize) {
        // SAFETY: the array lies on the stack that the kernel made for this process, and `at` is in it.
        unsafe { self.argv.cast_mut().add(at.min(self.count)).write(core::ptr::null()) };
    }

    /// The environment as the kernel made it, with the null pointer at its end.
    pub(crate) fn environment_pointers(self) -> *const *const u8 {
        // SAFETY: it lies behind the arguments' null pointer.
        unsafe { self.argv.add(self.count + 1) }
    }

    fn environment(self) -> impl Iterator<Item = *const u8> {
        // SAFETY: the array ends with a null pointer.
        unsafe { pointers_of(self.environment_pointers()) }
    }

    /// The environment with the shim's own variables in it: pointers into what is there.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn environment_with(self, own: &'static mut Variables) -> Result<*const *const u8, Errno> {
        let length = self.environment().count() + OWN.len() + 1;
        let array = match length {
            ..=POINTERS => own.pointers.as_mut_ptr(),
            _ => calls::memory(length * size_of::<*const u8>())?.cast::<*const u8>(),
        };
        // SAFETY: entries of the environment are C strings that live as long as the process.
        let kept = self.environment().filter(|entry| !is_own(unsafe { string(*entry) }));
        let own = [own.step.as_ptr(), own.attempt.as_ptr(), own.outputs.as_ptr()];
        for (at, entry) in kept.chain(own).enumerate() {
            // SAFETY: there are at most `length - 1` entries; the memory is zeroed, so a null pointer follows.
            unsafe { array.add(at).write(entry) };
        }
        Ok(array)
    }
}

/// The value of `PATH` in an environment.
///
/// # Safety
/// As for [`words_of`].
pub(crate) unsafe fn path_in(envp: *const *const u8) -> Option<&'static [u8]> {
    // SAFETY: the caller's promise.
    unsafe { words_of(envp) }.find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="))
}

/// The C strings of an array.
///
/// # Safety
/// The array ends with a null pointer, and array and strings are not changed or freed while the words are used.
pub(crate) unsafe fn words_of(list: *const *const u8) -> impl Iterator<Item = &'static CStr> {
    // SAFETY: the caller's promise.
    unsafe { pointers_of(list).map(|word| CStr::from_ptr(word.cast())) }
}

/// # Safety
/// The array ends with a null pointer.
unsafe fn pointers_of(list: *const *const u8) -> impl Iterator<Item = *const u8> {
    // SAFETY: the iterator ends at the null pointer, which the caller promises.
    (0..).map(move |at| unsafe { *list.add(at) }).take_while(|entry| !entry.is_null())
}

fn is_own(entry: &[u8]) -> bool {
    OWN.iter().any(|name| entry.starts_with(name))
}

/// # Safety
/// `pointer` is a C string that is never changed or freed.
unsafe fn string(pointer: *const u8) -> &'static [u8] {
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(pointer.cast()) }.to_bytes()
}
