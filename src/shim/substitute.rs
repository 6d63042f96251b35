//! The command line and environment of one attempt, with values in the place of references.

use podturn_wire::Strings;

use crate::Errno;
use crate::environment::words_of;
use crate::path::before_nul;
use crate::references::{References, expand, is_marked};
use crate::region::Region;

/// Arguments and environment in bytes, taken together: execve(2) allows three quarters of 8 MiB at most.
const WORDS_MAX: usize = 6 * 1024 * 1024;

/// Arrays of C strings for execve(2). Words without references are still where the kernel laid them.
pub(crate) struct Words {
    pub(crate) argv: *const *const u8,
    pub(crate) envp: *const *const u8,
    _memory: Region,
}

/// Puts the values, which are in the order of the list, into the words. `values` take less than `room` bytes.
///
/// # Errors
/// `ENODATA` when there are not as many values as references; `E2BIG` when a word or all of them become too long, or the
/// references are too many; `EINVAL` when a value has a NUL, which no argument can have; `ENOMEM`.
///
/// # Safety
/// `argv` and `envp` are arrays of C strings that live as long as the process, with a null pointer at the end.
#[cold]
#[inline(never)]
pub(crate) unsafe fn replaced(
    references: &References,
    values: Strings<'_>,
    room: usize,
    argv: *const *const u8,
    envp: *const *const u8,
) -> Result<Words, Errno> {
    let mut memory = Region::new(room)?;
    let values = decoded(values, references.count()?, memory.rest())?;
    let value = |name: &str| values.split(|byte| *byte == 0).nth(references.place(name)?);
    // Its pages are made when they are written to, so the most that can be needed costs no more than what is.
    let mut memory = Region::new(WORDS_MAX)?;
    // SAFETY: the caller's promise; both arrays live as long as `memory`, which goes with them.
    let [argv, envp] = unsafe { [fill(&mut memory, argv, &value)?, fill(&mut memory, envp, &value)?] };
    Ok(Words { argv, envp, _memory: memory })
}

/// The values one after another, each with a NUL behind it.
#[cold]
fn decoded<'a>(values: Strings<'_>, expected: usize, buffer: &'a mut [u8]) -> Result<&'a [u8], Errno> {
    let (mut length, mut count) = (0, 0);
    for value in values.iter() {
        let end = length + value.copy_to(&mut buffer[length..]).ok_or(Errno::E2BIG)?;
        if before_nul(&buffer[length..end]).is_some() {
            return Err(Errno::EINVAL);
        }
        length = end + 1; // the buffer is zeroed, and JSON takes more room than the text and a NUL
        count += 1;
    }
    if count == expected { Ok(&buffer[..length]) } else { Err(Errno::ENODATA) }
}

/// A copy of the array with the words that have references replaced.
///
/// # Safety
/// As for [`replaced`]; the copy is not used after `memory` has ended.
#[cold]
#[inline(never)]
unsafe fn fill<'v>(
    memory: &mut Region,
    list: *const *const u8,
    value: &impl Fn(&str) -> Option<&'v [u8]>,
) -> Result<*const *const u8, Errno> {
    // SAFETY: the caller's promise.
    let words = || unsafe { words_of(list) };
    let array = memory.take((words().count() + 1) * size_of::<*const u8>())?.as_mut_ptr().cast::<*const u8>();
    for (at, word) in words().enumerate() {
        let mut pointer = word.as_ptr().cast::<u8>();
        if is_marked(word.to_bytes()) {
            let place = memory.rest();
            let mut end = 0; // the memory is zeroed, so a NUL follows
            expand(word.to_bytes(), value, |text| {
                let to = place.get_mut(end..end + text.len()).ok_or(Errno::E2BIG)?;
                to.copy_from_slice(text);
                end += text.len();
                Ok(())
            })?;
            pointer = memory.take(end + 1).map_err(|_| Errno::E2BIG)?.as_ptr();
        }
        // SAFETY: the array has room for all words and the null pointer that is there already.
        unsafe { array.add(at).write(pointer) };
    }
    Ok(array)
}
