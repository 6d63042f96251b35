//! The two registers of every mailbox: turns out, reports in.
//!
//! Whatever lies in a step's `out/` was written by that step and is hostile input: it is opened beneath the volume and
//! without following links (openat2(2)), without waiting, and read only if it is a regular file of at most
//! [`LISTING_REPORT_MAX`] bytes.

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, RenameFlags, ResolveFlag, open, openat, openat2, renameat2};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use podturn_turn::{Outputs, StepId};
use podturn_wire::{
    ENCLOSING_TURN_MAX, Enclosed, InstanceId, LISTING_REPORT_MAX, REPORT_MAX, Report, TURN_MAX, Turn, WireError,
    listed_references, names,
};

use super::{Durability, Volume, VolumeError, outputs};

/// Every mailbox of a run, by step.
#[derive(Debug)]
pub struct Mailboxes {
    steps: OwnedFd,
    paths: Vec<Paths>,
    durability: Durability,
    /// Steps beside whose turn the one before it still stands.
    spares: RefCell<Vec<StepId>>,
}

/// Paths of one mailbox, beneath the directory of all.
#[derive(Debug)]
struct Paths {
    report: CString,
    turn: CString,
    /// Where a turn is written before it is renamed in, and the one before it stands until it is removed: no step can reach
    /// it.
    aside: CString,
    has_spare: Cell<bool>,
    inside: CString,
    outputs: CString,
}

/// Why a report is none: what the step put there instead.
#[derive(Debug)]
pub enum Spoilt {
    /// It cannot be opened: a link, a socket, a directory on the way.
    Unopenable(Errno),
    /// Something else than a regular file.
    NotAFile,
    /// It cannot be read.
    Unreadable(io::Error),
    /// Not a whole report of this version.
    Content(WireError),
}

impl std::fmt::Display for Spoilt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unopenable(errno) => write!(f, "it cannot be opened: {}", errno.desc()),
            Self::NotAFile => f.write_str("it is not a regular file"),
            Self::Unreadable(error) => write!(f, "it cannot be read: {error}"),
            Self::Content(error) => write!(f, "it is no report: {error}"),
        }
    }
}

impl std::error::Error for Spoilt {}

impl Volume {
    /// The mailboxes of these steps, in this order.
    ///
    /// # Errors
    /// When the directory of all mailboxes cannot be opened.
    pub fn mailboxes<'a>(
        &self,
        steps: impl Iterator<Item = &'a str>,
        durability: Durability,
    ) -> Result<Mailboxes, VolumeError> {
        let path = self.path.join(names::STEPS);
        let steps_dir = open_directory(&path).map_err(|errno| VolumeError::new("cannot open", &path, errno))?;
        let paths = steps.map(Paths::of).collect::<Result<_, _>>();
        let paths = paths.map_err(|error| VolumeError::new("cannot name a mailbox in", &path, error))?;
        Ok(Mailboxes { steps: steps_dir, paths, durability, spares: RefCell::default() })
    }
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

impl Paths {
    fn of(step: &str) -> io::Result<Self> {
        let path = |text: String| CString::new(text).map_err(io::Error::from);
        Ok(Self {
            report: path(format!("{step}/{}/{}", names::OUT, names::REPORT))?,
            turn: path(format!("{step}/{}/{}", names::IN, names::TURN))?,
            aside: path(format!("{step}/.{}.new", names::TURN))?,
            has_spare: Cell::new(false),
            inside: path(format!("{step}/{}", names::IN))?,
            outputs: path(format!("{step}/{}/{}", names::OUT, names::OUTPUTS))?,
        })
    }
}

impl Mailboxes {
    /// The directory that has one directory a step.
    pub(super) fn directory(&self) -> BorrowedFd<'_> {
        self.steps.as_fd()
    }

    /// The step's report; `None`: there is none.
    ///
    /// # Errors
    /// [`Spoilt`]: something is there, but not a report.
    pub fn read_report(&self, step: StepId) -> Result<Option<Report>, Spoilt> {
        let Some(file) = self.open_register(&self.paths[step.index()].report)? else { return Ok(None) };
        let parse = |bytes: &[u8]| Report::parse(bytes).map(Some).map_err(Spoilt::Content);
        read_regular::<{ REPORT_MAX + 1 }, _>(file, LISTING_REPORT_MAX, parse)
    }

    /// The references that this instance of the step's shim lists, without their brackets; `None`: the report is another
    /// instance's by now. They stand there until a turn for the instance was written.
    ///
    /// # Errors
    /// [`Spoilt`]: there is no report, or something else.
    pub fn read_references(&self, step: StepId, instance: InstanceId) -> Result<Option<Vec<String>>, Spoilt> {
        let file = self.open_beneath(&self.paths[step.index()].report).map_err(Spoilt::Unopenable)?;
        read_regular::<{ REPORT_MAX + 1 }, _>(file, LISTING_REPORT_MAX, |bytes| {
            if Report::parse(bytes).map_err(Spoilt::Content)?.instance != instance {
                return Ok(None);
            }
            let references = listed_references(bytes).map_err(Spoilt::Content)?;
            Ok(Some(references.iter().map(|reference| reference.chars().collect()).collect()))
        })
    }

    /// What the step's command left in its outputs directory.
    #[must_use]
    pub fn read_outputs(&self, step: StepId) -> Outputs {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        match self.open_with(&self.paths[step.index()].outputs, flags) {
            Ok(directory) => outputs::read(directory),
            Err(Errno::ENOENT) => Outputs::default(),
            Err(errno) => Outputs {
                refused: [(String::new(), format!("the directory cannot be opened: {}", errno.desc()))].into(),
                ..Outputs::default()
            },
        }
    }

    /// The turn that lies in the step's mailbox, without what it encloses; `None`: there is none.
    ///
    /// # Errors
    /// [`Spoilt`], though only this program writes there.
    pub fn read_turn(&self, step: StepId) -> Result<Option<Turn>, Spoilt> {
        let Some(file) = self.open_register(&self.paths[step.index()].turn)? else { return Ok(None) };
        let parse = |bytes: &[u8]| Turn::parse(bytes).map(Some).map_err(Spoilt::Content);
        read_regular::<{ TURN_MAX + 1 }, _>(file, ENCLOSING_TURN_MAX, parse)
    }

    /// Writes the step's turn, which encloses nothing: whole or not at all.
    ///
    /// # Errors
    /// Those of open(2), write(2) and rename(2). Then the old one stands.
    pub fn write_turn(&self, step: StepId, turn: &Turn) -> io::Result<()> {
        let mut buffer = [0; TURN_MAX];
        let length = turn.write(&mut buffer).map_err(io::Error::other)?;
        self.replace_turn(step, &buffer[..length])
    }

    /// Writes the step's turn with what it encloses: whole or not at all.
    ///
    /// # Errors
    /// As for [`Mailboxes::write_turn`].
    pub fn write_turn_enclosing(&self, step: StepId, turn: &Turn, enclosed: &Enclosed<'_>) -> io::Result<()> {
        let mut buffer = vec![0; enclosed.room()];
        let length = turn.write_enclosing(enclosed, &mut buffer).map_err(io::Error::other)?;
        if length > ENCLOSING_TURN_MAX {
            return Err(io::Error::other(WireError::TooLong));
        }
        self.replace_turn(step, &buffer[..length])
    }

    fn replace_turn(&self, step: StepId, turn: &[u8]) -> io::Result<()> {
        let paths = &self.paths[step.index()];
        self.remove_spare(step); // and not written into: its shim may still read it
        if let Err(error) = self.write_aside(&paths.aside, turn) {
            // What did not fit gives its room back.
            let _ = unlinkat(&self.steps, paths.aside.as_c_str(), UnlinkatFlags::NoRemoveDir);
            return Err(error);
        }
        self.replace(step)?;
        if self.durability == Durability::Node {
            let inside =
                openat(&self.steps, paths.inside.as_c_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
            File::from(inside).sync_all()?;
        }
        Ok(())
    }

    /// Puts the turn that was written aside in its place, at once. The two exchange their names, and the old one is removed
    /// later: renaming over an existing file makes ext4 allocate and write out the new one's blocks then and there
    /// (ext4(5), `auto_da_alloc`), which takes several times as long. Not every file system can exchange; then it is
    /// renamed.
    fn replace(&self, step: StepId) -> Result<(), Errno> {
        let paths = &self.paths[step.index()];
        let [from, to] = [paths.aside.as_c_str(), paths.turn.as_c_str()];
        if renameat2(&self.steps, from, &self.steps, to, RenameFlags::RENAME_EXCHANGE).is_err() {
            return renameat2(&self.steps, from, &self.steps, to, RenameFlags::empty());
        }
        paths.has_spare.set(true);
        self.spares.borrow_mut().push(step);
        Ok(())
    }

    /// Removes the turns that were replaced. Nobody has to wait for that, so it is for a moment in which nothing else is to be
    /// done.
    pub fn remove_spares(&self) {
        for step in self.spares.take() {
            self.remove_spare(step);
        }
    }

    fn remove_spare(&self, step: StepId) {
        let paths = &self.paths[step.index()];
        if paths.has_spare.take() {
            let _ = unlinkat(&self.steps, paths.aside.as_c_str(), UnlinkatFlags::NoRemoveDir); // else it is overwritten
        }
    }

    fn write_aside(&self, path: &CString, bytes: &[u8]) -> io::Result<()> {
        let flags = OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mode = Mode::from_bits_truncate(0o644);
        let mut file = File::from(openat(&self.steps, path.as_c_str(), flags, mode)?);
        file.write_all(bytes)?;
        if self.durability == Durability::Node {
            file.sync_data()?;
        }
        Ok(())
    }

    fn open_register(&self, path: &CString) -> Result<Option<OwnedFd>, Spoilt> {
        match self.open_beneath(path) {
            Ok(fd) => Ok(Some(fd)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(Spoilt::Unopenable(errno)),
        }
    }

    fn open_beneath(&self, path: &CString) -> Result<OwnedFd, Errno> {
        self.open_with(path, OFlag::O_RDONLY)
    }

    fn open_with(&self, path: &CString, flags: OFlag) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_XDEV;
        let how = OpenHow::new().flags(flags).resolve(resolve);
        match openat2(&self.steps, path.as_c_str(), how) {
            // Before Linux 5.6, or under a seccomp profile that does not know the call. The directory above the file is
            // the step's own to rename, but not `out` itself, which is its mount.
            Err(Errno::ENOSYS | Errno::EPERM) => openat(&self.steps, path.as_c_str(), flags, Mode::empty()),
            other => other,
        }
    }
}

/// Reads a file that is regular and not longer than `limit`. One that fits `SMALL` with a byte to spare, as nearly all
/// do, takes no other memory.
fn read_regular<const SMALL: usize, T>(
    fd: OwnedFd,
    limit: usize,
    parse: impl FnOnce(&[u8]) -> Result<T, Spoilt>,
) -> Result<T, Spoilt> {
    let stat = fstat(&fd).map_err(|errno| Spoilt::Unreadable(errno.into()))?;
    if SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(Spoilt::NotAFile);
    }
    match usize::try_from(stat.st_size) {
        Ok(size) if size < SMALL => {
            let mut buffer = [0; SMALL];
            let length = read_whole(fd, size, &mut buffer)?;
            parse(&buffer[..length])
        }
        Ok(size) if size <= limit => {
            let mut buffer = vec![0; size + 1];
            let length = read_whole(fd, size, &mut buffer)?;
            parse(&buffer[..length])
        }
        _ => Err(Spoilt::Content(WireError::TooLong)),
    }
}

fn read_whole(fd: OwnedFd, size: usize, buffer: &mut [u8]) -> Result<usize, Spoilt> {
    let mut file = File::from(fd);
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => return Ok(length),
            // Nobody writes to a file after it was renamed in; who does all the same has a torn one.
            Ok(read) if length + read == size => return Ok(size),
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Spoilt::Unreadable(error)),
        }
    }
    Err(Spoilt::Content(WireError::TooLong))
}
