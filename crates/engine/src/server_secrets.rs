//! What a server accepts connections with: its certificate, which may change, and the secrets, which outlive it.
//!
//! Owns putting them together for QUIC. Must not know connections, nor where secrets come from.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn_proto::crypto::HandshakeTokenKey;
use quinn_proto::ServerConfig;
use rustls::server::ProducesTickets;
use rustls::KeyLog;

use crate::error::EngineError;
use crate::fleet::{Fleet, TicketKeys, TokenKeys};
use crate::identity::{EndpointKeys, Identity};
use crate::settings::Settings;
use crate::tls;

/// What stays the same when a server's certificate changes.
pub(crate) struct ServerSecrets {
    ticketer: Arc<dyn ProducesTickets>,
    token_key: Arc<dyn HandshakeTokenKey>,
    fleet: Option<Arc<Fleet>>,
}

impl ServerSecrets {
    pub(crate) fn new(keys: &EndpointKeys, fleet: Option<Arc<Fleet>>) -> Result<Self, EngineError> {
        Ok(match &fleet {
            Some(member) => Self {
                ticketer: Arc::new(TicketKeys(member.clone())),
                token_key: Arc::new(TokenKeys(member.clone())),
                fleet,
            },
            None => Self {
                ticketer: tls::ticketer(keys)?,
                token_key: tls::token_key(keys),
                fleet,
            },
        })
    }

    pub(crate) fn fleet(&self) -> Option<Arc<Fleet>> {
        self.fleet.clone()
    }

    pub(crate) fn config(
        &self,
        identity: &Identity,
        settings: &Settings,
        key_log: Option<Arc<dyn KeyLog>>,
    ) -> Result<Arc<ServerConfig>, EngineError> {
        let crypto = tls::server_config(identity, settings, self.ticketer.clone(), key_log)?;
        let mut config = ServerConfig::new(crypto, self.token_key.clone());
        config.transport_config(Arc::new(settings.transport(None)));
        for address in &settings.preferred_addresses {
            match *address {
                SocketAddr::V4(address) => config.preferred_address_v4(Some(address)),
                SocketAddr::V6(address) => config.preferred_address_v6(Some(address)),
            };
        }
        Ok(Arc::new(config))
    }
}
