//! Trying a readiness probe in the step's container.

use core::ffi::CStr;

use podturn_wire::{Probe, ProbeKind, Quoted, Strings};

use crate::calls::{self, Fd, HERE, Stat};
use crate::path::before_nul;
use crate::region::Region;
use crate::relay::Relay;
use crate::{Errno, Found};

/// As many bytes of memory are enough for one of the turn's: a word of a command takes at least three there (`"",`), and
/// at most two more pointers' than its own here.
const EACH_BYTE: usize = 8;

/// The probe of one attempt.
pub(crate) struct Prober {
    kind: Kind,
    /// What the command's descriptors become for it.
    ends: [Option<Fd>; 3],
    _memory: Region,
}

enum Kind {
    /// An array of C strings for execve(2).
    Exec(*const *const u8),
    /// A file, and the clock of files at the attempt's begin.
    File(&'static CStr, u64),
    Log(Relay),
}

impl Prober {
    /// Gets ready for an attempt that begins now. The probe was read from a turn of `length` bytes.
    ///
    /// # Errors
    /// `ENOMEM`, those of pipe(2), and `EINVAL` for a text with a NUL, which no argument and no path can have.
    #[cold]
    #[inline(never)]
    pub(crate) fn new(probe: &Probe<'_>, length: usize) -> Result<Self, Errno> {
        let mut memory = Region::new(Relay::ROOM + EACH_BYTE * length)?;
        let mut ends = [None; 3];
        // SAFETY: what is taken from the memory goes with it: a prober's parts end in the order in which they are declared.
        let kind = unsafe {
            match probe.kind {
                ProbeKind::Exec(command) => Kind::Exec(array(command, &mut memory)?),
                ProbeKind::File(path) => Kind::File(string(path, &mut memory)?, calls::file_time()),
                ProbeKind::Log(text) => {
                    let (relay, others) = Relay::new(string(text, &mut memory)?.to_bytes(), &mut memory)?;
                    ends = others;
                    Kind::Log(relay)
                }
            }
        };
        Ok(Self { kind, ends, _memory: memory })
    }

    /// What the command's descriptors 0, 1 and 2 are to become. Whoever starts it closes them.
    pub(crate) fn ends(&self) -> [Option<Fd>; 3] {
        self.ends
    }

    /// Tries it, unless that takes a process: then `Err` has its command line.
    #[cold]
    pub(crate) fn look(&self) -> Result<Found, *const *const u8> {
        match &self.kind {
            Kind::Exec(argv) => Err(*argv),
            // Both clocks are the kernel's coarse one, so a file that is made after the begin has no earlier time.
            Kind::File(path, begin) => {
                Ok(Found::of(Stat::of(HERE, path).is_ok_and(|stat| stat.changed_at() >= *begin)))
            }
            Kind::Log(relay) => Ok(Found::of(relay.is_met())),
        }
    }

    /// The pipes, if it has some.
    pub(crate) fn relay(&mut self) -> Option<&mut Relay> {
        match &mut self.kind {
            Kind::Log(relay) => Some(relay),
            _ => None,
        }
    }
}

/// # Safety
/// The array is not used after the memory has ended.
#[cold]
unsafe fn array(command: Strings<'_>, memory: &mut Region) -> Result<*const *const u8, Errno> {
    let array = memory.take((command.iter().count() + 1) * size_of::<*const u8>())?.as_mut_ptr().cast::<*const u8>();
    for (at, word) in command.iter().enumerate() {
        // SAFETY: there is room for all words and the null pointer that is there already; the rest is the caller's promise.
        unsafe { array.add(at).write(string(word, memory)?.as_ptr().cast()) };
    }
    Ok(array)
}

/// # Safety
/// The string is not used after the memory has ended.
#[cold]
#[inline(never)]
unsafe fn string(text: Quoted<'_>, memory: &mut Region) -> Result<&'static CStr, Errno> {
    let length = text.copy_to(memory.rest()).ok_or(Errno::ENOMEM)?;
    let place = memory.take(length + 1)?; // the memory is zeroed, so the last byte is a NUL
    let string = before_nul(place).filter(|string| string.count_bytes() == length).ok_or(Errno::EINVAL)?;
    // SAFETY: the caller's promise.
    Ok(unsafe { CStr::from_ptr(string.as_ptr()) })
}
