//! Why packets go where they go: the labels of every counter.
//!
//! Owns the two lists and their names in metrics. Must not know how anything is decided.

use legato_quic_lb::Unroutable;

use crate::encapsulation::Refused;

macro_rules! labels {
    ($(#[$about:meta])* $name:ident { $($(#[$each:meta])* $label:ident = $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$each])* $label,)*
        }

        impl $name {
            /// All of them, in the order of their counters.
            pub const ALL: &'static [Self] = &[$(Self::$label),*];

            /// The label in metrics.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$label => $text,)*
                }
            }
        }
    };
}

labels! {
    /// What led a client's packet to its server.
    Route {
        /// The connection ID names a server of the list.
        ConnectionId = "connection_id",
        /// The connection ID holds an allowed address that is not in the list.
        DerivedAddress = "derived_address",
        /// Hashed: the codepoint 0b111.
        ReservedCodepoint = "hash_reserved_codepoint",
        /// Hashed: no configuration is active at this codepoint.
        UnknownConfig = "hash_unknown_config",
        /// Hashed: the connection ID is shorter than its configuration's.
        TooShort = "hash_too_short",
        /// Hashed: the connection ID is not as long as it says.
        WrongLength = "hash_wrong_length",
        /// Hashed: the connection ID names no server that is known.
        UnknownServer = "hash_unknown_server",
        /// Hashed: the connection ID names a server that has been dead for longer than the grace time.
        DeadServer = "hash_dead_server",
    }
}

impl From<Unroutable> for Route {
    fn from(why: Unroutable) -> Self {
        match why {
            Unroutable::ReservedCodepoint => Self::ReservedCodepoint,
            Unroutable::UnknownConfig => Self::UnknownConfig,
            Unroutable::TooShort => Self::TooShort,
            Unroutable::WrongLength => Self::WrongLength,
        }
    }
}

labels! {
    /// Why a packet is dropped.
    Reason {
        /// It ends before its header does, or is shorter than any packet of QUIC.
        Truncated = "truncated",
        /// It is larger than what is forwarded: encapsulated it would not fit the path to the server.
        TooLarge = "too_large",
        /// A client sent Version Negotiation (version 0).
        VersionNegotiation = "version_negotiation",
        /// It is from an address that no client can have.
        NoClient = "no_client",
        /// It is from this or another balancer, or one encapsulated for a server: something loops or pretends to.
        Loop = "loop",
        /// There is no server for new connections.
        NoServer = "no_server",
        /// The connection ID names a server that died a moment ago.
        DeadServer = "dead_server",
        /// The server can only be reached over the other IP version, in which there is no listener at this port.
        OtherFamily = "other_family",
        /// From a server: not encapsulated.
        NotEncapsulated = "reply_not_encapsulated",
        /// From a server: a version of the encapsulation that is unknown.
        ReplyVersion = "reply_version",
        /// From a server: the header is cut off, empty behind, or has unknown flags.
        ReplyMalformed = "reply_malformed",
        /// From a server: the tag is wrong; the keys differ, or it is forged.
        ReplyTag = "reply_tag",
        /// From a server: for an address that no client can have, or for a server or balancer.
        ReplyClient = "reply_client",
        /// A genuine reply from an address that is no server's.
        Stranger = "reply_from_stranger",
        /// The system's send buffer is full.
        SendBlocked = "send_blocked",
        /// The way there does not take a packet of this size.
        SendTooLarge = "send_too_large",
        /// The system knows no way there, or refuses it.
        SendRefused = "send_refused",
    }
}

impl From<Refused> for Reason {
    fn from(why: Refused) -> Self {
        match why {
            Refused::NotEncapsulated => Self::NotEncapsulated,
            Refused::Version => Self::ReplyVersion,
            Refused::Truncated | Refused::Flags => Self::ReplyMalformed,
            Refused::Tag => Self::ReplyTag,
            Refused::Client => Self::ReplyClient,
        }
    }
}
