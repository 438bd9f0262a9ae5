//! What can be wrong: a setting, a connection ID that arrives, a supply that is used up.
//!
//! Owns the errors and their wording. Must not hold key material or octets of packets.

use std::fmt;

use crate::ConfigId;

/// A configuration that the draft or this crate does not allow. It is the caller's mistake, never a peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The configuration ID does not fit: 0b111 is reserved, and there are three bits.
    ConfigId(u8),
    /// Server ID and nonce have lengths that the draft forbids.
    Lengths {
        /// Octets of the server ID.
        server_id: usize,
        /// Octets of the nonce.
        nonce: usize,
    },
    /// The connection ID cannot have this many octets.
    CidLen {
        /// What was asked for.
        asked: usize,
        /// The fewest that are possible.
        least: usize,
        /// The most that are possible.
        most: usize,
    },
    /// A server ID needs 1 to 15 octets, and hexadecimal digits if it is text.
    ServerId,
    /// The server ID is not as long as the configuration says.
    ServerIdLen {
        /// Octets that were given.
        given: usize,
        /// Octets that the configuration has.
        configured: usize,
    },
    /// The nonce is not as long as the configuration says.
    NonceLen {
        /// Octets that were given.
        given: usize,
        /// Octets that the configuration has.
        configured: usize,
    },
    /// Connection IDs with this codepoint may still be in use.
    CodepointInUse(ConfigId),
    /// The same server ID would appear both in clear and encrypted.
    ServerIdInClear,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ConfigId(id) => write!(out, "configuration ID {id}: use 0 to 6, 7 means unroutable"),
            Self::Lengths { server_id, nonce } => write!(
                out,
                "server ID of {server_id} and nonce of {nonce} octets: use at least 1 and 4, together at most 19"
            ),
            Self::CidLen { asked, least, most } if least == most => {
                write!(out, "connection IDs of {asked} octets: this server needs {least}, set the total length")
            }
            Self::CidLen { asked, least, most } => {
                write!(out, "connection IDs of {asked} octets: use {least} to {most}")
            }
            Self::ServerId => out.write_str("a server ID has 1 to 15 octets, two hexadecimal digits each"),
            Self::ServerIdLen { given, configured } => write!(
                out,
                "server ID of {given} octets where the configuration has {configured}"
            ),
            Self::NonceLen { given, configured } => {
                write!(out, "nonce of {given} octets where the configuration has {configured}")
            }
            Self::CodepointInUse(id) => write!(
                out,
                "codepoint {id} is in use: rotate to another one, and reuse it when its connection IDs are gone"
            ),
            Self::ServerIdInClear => out.write_str(
                "this server ID was used in clear: encrypted configurations need server IDs of their own",
            ),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Why a server cannot issue a routable connection ID now. Until a new configuration is there, it issues unroutable ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssueError {
    /// No configuration has arrived yet.
    NoConfig,
    /// Each nonce of this configuration has been used once.
    NoncesExhausted,
}

impl fmt::Display for IssueError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NoConfig => "there is no configuration yet: connection IDs are unroutable",
            Self::NoncesExhausted => {
                "every nonce is used up: rotate to a configuration with a new key, and a longer nonce if this recurs"
            }
        })
    }
}

impl std::error::Error for IssueError {}

/// Why a destination connection ID says nothing about the server; the packet goes where its addresses lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unroutable {
    /// The codepoint 0b111: a server without configuration, or noise.
    ReservedCodepoint,
    /// No configuration is active at this codepoint.
    UnknownConfig,
    /// Fewer octets than the configuration needs; none at all, too.
    TooShort,
    /// The self-described length contradicts the length in the long header.
    WrongLength,
}

impl fmt::Display for Unroutable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::ReservedCodepoint => "reserved codepoint",
            Self::UnknownConfig => "unknown configuration",
            Self::TooShort => "too short",
            Self::WrongLength => "wrong length",
        })
    }
}

impl std::error::Error for Unroutable {}
