//! Who a server is and which secrets its fleet shares. Owns the values only; how they are used is for `tls` and `cid`.

use std::fmt;

use crate::fleet::FleetMember;

/// Certificate chain and private key of a server.
#[derive(Clone)]
pub struct Identity {
    /// Certificates in DER, leaf first.
    pub certificate_chain: Vec<Vec<u8>>,
    /// Private key in DER (PKCS #8, PKCS #1 or SEC 1).
    pub private_key: Vec<u8>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Identity")
            .field("certificates", &self.certificate_chain.len())
            .finish_non_exhaustive()
    }
}

/// How connection IDs are made when the endpoint's settings are not enough: a fixed length and fixed first bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionIdLayout {
    /// Total length in bytes, 4..=20.
    pub length: usize,
    /// First bytes of each ID.
    pub prefix: Vec<u8>,
}

/// Secrets that the servers of one fleet share, so that each can stand in for the others. What is missing is random.
#[derive(Clone, Default)]
pub struct EndpointKeys {
    /// Key of stateless reset tokens (RFC 9000 §10.3.2).
    pub reset_key: Option<[u8; 32]>,
    /// Key of Retry and NEW_TOKEN tokens (RFC 9000 §8.1).
    pub token_key: Option<[u8; 32]>,
    /// Key of TLS session tickets (RFC 8446 §4.6.1).
    pub ticket_key: Option<[u8; 32]>,
    /// Layout of connection IDs; overrides the settings.
    pub connection_id: Option<ConnectionIdLayout>,
    /// Membership in a fleet behind balancers; overrides everything above.
    pub fleet: Option<FleetMember>,
}

impl fmt::Debug for EndpointKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("EndpointKeys")
            .field("reset_key", &self.reset_key.is_some())
            .field("token_key", &self.token_key.is_some())
            .field("ticket_key", &self.ticket_key.is_some())
            .field("connection_id", &self.connection_id)
            .field("fleet", &self.fleet)
            .finish()
    }
}
