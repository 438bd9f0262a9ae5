//! What every version of QUIC has in common (RFC 8999): the form of the header, the version, where the connection ID is.
//!
//! Owns reading these. Must not know what any version puts behind them, or what a connection ID means.

/// The fewest octets of a packet with a short header. RFC 9000 §10.3 calls shorter ones invalid, so that they can be told
/// from stateless resets; of short headers, the versions in use need more.
const SHORTEST: usize = 21;

/// Where the destination connection ID of a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination<'a> {
    /// A long header says how long it is.
    Long(&'a [u8]),
    /// A short header does not: these octets begin with it.
    Short(&'a [u8]),
}

/// Why octets are not a packet that a client sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPacket {
    /// They end too early.
    Truncated,
    /// Only servers send Version Negotiation, that is version 0.
    VersionNegotiation,
}

/// Looks at the first packet of a datagram; those behind it belong to the same connection (RFC 9000 §12.2).
pub(crate) fn destination(datagram: &[u8]) -> Result<Destination<'_>, NoPacket> {
    match datagram {
        [first, rest @ ..] if first & 0x80 != 0 => {
            let [a, b, c, d, length, rest @ ..] = rest else {
                return Err(NoPacket::Truncated);
            };
            if [a, b, c, d] == [&0; 4] {
                return Err(NoPacket::VersionNegotiation);
            }
            // The source connection ID has a length, too, which has to be there.
            let length = usize::from(*length);
            if rest.len() <= length {
                return Err(NoPacket::Truncated);
            }
            Ok(Destination::Long(&rest[..length]))
        }
        [_, rest @ ..] if datagram.len() >= SHORTEST => Ok(Destination::Short(rest)),
        _ => Err(NoPacket::Truncated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_header_says_where_its_connection_id_ends() {
        let packet = [0xc0, 0, 0, 0, 1, 3, 7, 8, 9, 0];
        assert_eq!(destination(&packet), Ok(Destination::Long(&[7, 8, 9])));
        for end in 0..packet.len() {
            assert_eq!(
                destination(&packet[..end]),
                Err(NoPacket::Truncated),
                "{end}"
            );
        }
        assert_eq!(
            destination(&[0x80, 0, 0, 0, 9, 0, 0]),
            Ok(Destination::Long(&[]))
        );
    }

    #[test]
    fn a_short_header_is_followed_by_its_connection_id() {
        let packet = [0x40; 21];
        assert_eq!(destination(&packet), Ok(Destination::Short(&[0x40; 20])));
        assert_eq!(destination(&packet[1..]), Err(NoPacket::Truncated));
        assert_eq!(destination(&[]), Err(NoPacket::Truncated));
    }

    #[test]
    fn version_zero_is_no_clients() {
        let packet = [0x80, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(destination(&packet), Err(NoPacket::VersionNegotiation));
    }

    #[test]
    fn unknown_versions_are_read_by_the_same_rules() {
        let mut packet = [0x55; 300];
        packet[0] = 0xff;
        packet[5] = 255;
        assert_eq!(destination(&packet), Ok(Destination::Long(&[0x55; 255])));
        assert_eq!(destination(&packet[..261]), Err(NoPacket::Truncated));
    }
}
