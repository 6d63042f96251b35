//! Why an image could not be read, and what to do about it.
//!
//! Belongs here: the data of such a message. Does not belong here: deciding what went wrong (each source does).

use std::fmt;

/// What kind of thing went wrong: what a program may want to tell apart, and what decides whether another source is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The reference is none.
    BadReference,
    /// The source was reached and has no such image.
    NotThere,
    /// The source wants other credentials, or any.
    Denied,
    /// The image is there, but not for this platform.
    NoPlatform,
    /// The source could not be reached, or took too long.
    Unreachable,
    /// The server is not who it should be, as far as certificates tell.
    Untrusted,
    /// What was read is no image, or is not what its digest says.
    Broken,
    /// The machine's own configuration (credentials, certificates, registries.conf) cannot be used.
    Configuration,
}

/// One image could not be read from one source.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What kind.
    pub kind: Kind,
    /// Why, for people.
    pub why: String,
    /// What to do, where there is something.
    pub help: Option<String>,
}

impl Failure {
    pub(super) fn new(kind: Kind, why: impl Into<String>) -> Self {
        Self { kind, why: why.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Failure {}
