//! What a shim says over its socket: who it is, and 'look'.

use crate::InstanceId;

/// Every packet from a shim has this length.
pub const PACKET_LENGTH: usize = 9;

/// A packet from a shim. It carries no state, the report does; but it names the speaker, so that a late packet of a dead
/// instance is not taken for the next one's (rule S2). What the coordinator sends is never looked at, only that it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Who speaks.
    pub instance: InstanceId,
    /// The first packet of a connection; any other says 'read report.json'.
    pub hello: bool,
}

impl Packet {
    /// The instance's id, most significant byte first, then `h` or `r`.
    #[must_use]
    pub fn bytes(self) -> [u8; PACKET_LENGTH] {
        let mut bytes = [if self.hello { b'h' } else { b'r' }; PACKET_LENGTH];
        bytes[..8].copy_from_slice(&self.instance.0.to_be_bytes());
        bytes
    }

    /// Reads what [`Packet::bytes`] made; anything else is `None`.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (instance, kind) = bytes.split_first_chunk::<8>()?;
        let hello = match kind {
            b"h" => true,
            b"r" => false,
            _ => return None,
        };
        Some(Self { instance: InstanceId(u64::from_be_bytes(*instance)), hello })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_comes_back_as_it_was_sent_and_nothing_else_is_one() {
        for hello in [true, false] {
            let packet = Packet { instance: InstanceId(0x0102_0304_0506_07ff), hello };
            assert_eq!(packet.bytes()[..2], [1, 2]);
            assert_eq!(Packet::parse(&packet.bytes()), Some(packet));
        }
        for foreign in [&b""[..], b"h", b"12345678x", b"12345678hh"] {
            assert_eq!(Packet::parse(foreign), None);
        }
    }
}
