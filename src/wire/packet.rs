//! What crosses the bell, a `SOCK_SEQPACKET` socket (unix(7)): rings, and who rings.
//!
//! A packet never carries state; the files do. Whoever gets one reads the other side's file.

use crate::InstanceId;

/// The length of every packet from a shim: eight bytes of instance id, most significant first, and one of kind.
pub const LENGTH: usize = 9;

/// What the coordinator sends. Its content means nothing: any packet says 'read `turn.json`'.
pub const RING: &[u8] = b"r";

/// Why a shim sends a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first packet of a connection: who is at its other end (rule S2).
    Hello,
    /// Every later one: read `report.json`.
    Ring,
}

/// The packet of a shim. Each one names the instance, so that a late packet of a dead one is known for what it is.
#[must_use]
pub const fn encode(instance: InstanceId, kind: Kind) -> [u8; LENGTH] {
    let [a, b, c, d, e, f, g, h] = instance.0.to_be_bytes();
    let kind = match kind {
        Kind::Hello => b'h',
        Kind::Ring => b'r',
    };
    [a, b, c, d, e, f, g, h, kind]
}

/// Reads a shim's packet. `None` for anything else: whoever else in the step's container connects may send what it
/// likes, and is to be hung up on.
#[must_use]
pub fn decode(packet: &[u8]) -> Option<(InstanceId, Kind)> {
    let (id, kind) = packet.split_first_chunk::<8>()?;
    let kind = match kind {
        b"h" => Kind::Hello,
        b"r" => Kind::Ring,
        _ => return None,
    };
    Some((InstanceId(u64::from_be_bytes(*id)), kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_nine_bytes_and_comes_back() {
        let instance = InstanceId(0x0102_0304_0506_0708);
        assert_eq!(encode(instance, Kind::Hello), *b"\x01\x02\x03\x04\x05\x06\x07\x08h");
        for kind in [Kind::Hello, Kind::Ring] {
            assert_eq!(decode(&encode(instance, kind)), Some((instance, kind)));
        }
    }

    #[test]
    fn anything_else_is_no_packet() {
        for foreign in [&b""[..], b"h", b"12345678", b"12345678x", b"12345678hh"] {
            assert_eq!(decode(foreign), None, "{foreign:?}");
        }
    }
}
