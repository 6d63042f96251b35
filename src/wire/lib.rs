//! What crosses the shared volume: the turn (coordinator to shim), the report (shim to coordinator), and the
//! names, limits and exit codes on which both sides agree.
//!
//! Belongs here: plain data, its one JSON form, and constants of the protocol (`docs/protocol.md`). Does not
//! belong here: files, sockets, clocks, allocation, or any decision about what to do with a turn or a report. The
//! shim and the coordinator compile the same code, so the two cannot drift apart.
//!
//! Times are nanoseconds of `CLOCK_BOOTTIME` (see clock_gettime(2)), durations are milliseconds.

#![no_std]

pub mod alive;
mod bell;
mod enclosed;
pub mod exit;
pub mod json;
pub mod names;
pub mod reference;
mod report;
mod strings;
mod text;
mod turn;

pub use bell::{PACKET_LENGTH, Packet};
pub use enclosed::{Enclosed, Probe, ProbeKind, VALUE_MAX, VALUES_MAX};
pub use report::{Ended, Exit, Last, Report, StartStage, Usage, listed_references};
pub use strings::{Quoted, Strings};
pub use text::Text;
pub use turn::{TERMINATION_LOG_MAX, Then, Turn};

/// The version of the protocol, the first member of every turn and report. A reader refuses any other; within a
/// version it ignores members that it does not know.
pub const VERSION: u64 = 1;

/// The longest turn file in bytes that encloses nothing.
pub const TURN_MAX: usize = 16 * 1024;

/// The longest turn file in bytes, with all that it encloses: a byte of a value takes at most six in JSON. A longer one is
/// refused unread.
pub const ENCLOSING_TURN_MAX: usize = TURN_MAX + 7 * VALUES_MAX;

/// The longest report file in bytes that lists no references.
pub const REPORT_MAX: usize = 4 * 1024;

/// The references of one container in bytes, taken together.
pub const REFERENCES_MAX: usize = 8 * 1024;

/// The longest report file in bytes, references included. A longer one is refused unread: the volume's `out/` is hostile
/// input.
pub const LISTING_REPORT_MAX: usize = REPORT_MAX + 7 * REFERENCES_MAX;

/// The longest message for a person in a turn, in bytes. Termination messages of a pod share 12 KiB (Kubernetes,
/// "Determine the Reason for Pod Failure"), so each step keeps to a small part of it.
pub const MESSAGE_MAX: usize = 200;

/// Identifies one run of a plan: stamped by the init container, never reused. 16 lower-case hex digits in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// Identifies one life of one shim process, chosen at random by it. 16 lower-case hex digits in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u64);

macro_rules! hex_id {
    ($name:ident) => {
        impl $name {
            /// Reads the 16 lower-case hex digits of the JSON form; anything else is `None`.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let digits = text.as_bytes().first_chunk::<16>().filter(|_| text.len() == 16)?;
                let value = |sum: u64, digit: &u8| match digit {
                    b'0'..=b'9' => Some(sum << 4 | u64::from(digit - b'0')),
                    b'a'..=b'f' => Some(sum << 4 | u64::from(digit - b'a' + 10)),
                    _ => None,
                };
                digits.iter().try_fold(0, value).map(Self)
            }

            /// The 16 lower-case hex digits of the JSON form.
            #[must_use]
            pub fn digits(self) -> Text<16> {
                let mut text = Text::new();
                for shift in (0..16).rev() {
                    let digit = (self.0 >> (shift * 4)) & 0xf;
                    text.push_byte(b"0123456789abcdef"[digit as usize]);
                }
                text
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.digits().as_str())
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.digits().as_str())
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = Text::<16>::deserialize(d)?;
                Self::parse(text.as_str()).ok_or_else(|| serde::de::Error::custom("expected 16 lower-case hex digits"))
            }
        }
    };
}

hex_id!(RunId);
hex_id!(InstanceId);

/// Why a turn or a report could not be read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// Not JSON, or JSON that ends too early (a torn file).
    Syntax,
    /// JSON, but a member is missing, has the wrong type, or holds a value that cannot be.
    Member(&'static str),
    /// Another version of the protocol.
    Version(u64),
    /// The buffer is too small for it.
    TooLong,
}

impl core::fmt::Display for WireError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Syntax => f.write_str("not a whole JSON object"),
            Self::Member(name) => write!(f, "member \"{name}\" is missing or wrong"),
            Self::Version(found) => write!(f, "protocol version {found}, this program speaks {VERSION}"),
            Self::TooLong => f.write_str("longer than the protocol allows"),
        }
    }
}

impl core::error::Error for WireError {}

#[cfg(test)]
mod tests {
    use super::RunId;

    #[test]
    fn an_id_has_one_spelling() {
        let id = RunId(0x0123_4567_89ab_cdef);
        assert_eq!(RunId::parse(id.digits().as_str()), Some(id));
        for wrong in ["", "123456789abcdef", "0123456789ABCDEF", "00123456789abcdef", "0123456789abcdeg"] {
            assert_eq!(RunId::parse(wrong), None, "{wrong}");
        }
    }
}
