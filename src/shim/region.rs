//! Memory of a size that is known only when an attempt begins, mapped for it and given back whole.

use crate::Errno;
use crate::calls;

/// A mapping of its own, zeroed, from which pieces are taken one after another. The pieces end with it.
pub(crate) struct Region {
    base: *mut u8,
    length: usize,
    used: usize,
}

impl Region {
    /// # Errors
    /// `ENOMEM`.
    #[cold]
    pub(crate) fn new(length: usize) -> Result<Self, Errno> {
        let length = length.max(1).next_multiple_of(size_of::<usize>());
        Ok(Self { base: calls::memory(length)?, length, used: 0 })
    }

    /// What was not taken so far.
    pub(crate) fn rest(&mut self) -> &mut [u8] {
        // SAFETY: nobody was given this part of the mapping, which is this region's alone.
        unsafe { core::slice::from_raw_parts_mut(self.base.add(self.used), self.length - self.used) }
    }

    /// The next `length` bytes, and what brings the following ones to where a pointer may be.
    ///
    /// # Errors
    /// `ENOMEM` when less is left.
    #[cold]
    pub(crate) fn take(&mut self, length: usize) -> Result<&mut [u8], Errno> {
        let start = self.used;
        let end = length.checked_next_multiple_of(size_of::<usize>()).and_then(|length| start.checked_add(length));
        self.used = end.filter(|end| *end <= self.length).ok_or(Errno::ENOMEM)?;
        // SAFETY: this part of the mapping was given to nobody before, and will not be again.
        Ok(unsafe { core::slice::from_raw_parts_mut(self.base.add(start), length) })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        calls::give_back(self.base, self.length);
    }
}
