//! The value classes that cross: identities, keys, targets, requests, figures. Must not do anything with them.

use std::net::SocketAddr;

use legato_engine as engine;
use legato_engine::EngineError;
use pyo3::prelude::*;

use crate::errors::OrRaise;
use crate::fleet::FleetMember;

pub(crate) type Address = (String, u16);

pub(crate) fn address(address: SocketAddr) -> Address {
    (address.ip().to_string(), address.port())
}

/// Addresses meant by a host and a port; names other than `localhost` are for the caller to resolve.
pub(crate) fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, EngineError> {
    if host == "localhost" {
        return Ok(vec![
            SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)),
            SocketAddr::from(([127, 0, 0, 1], port)),
        ]);
    }
    match host.parse() {
        Ok(ip) => Ok(vec![SocketAddr::new(ip, port)]),
        Err(_) => Err(EngineError::Connect(format!(
            "{host:?} is not an IP address; names have to be resolved before"
        ))),
    }
}

/// An address written as IP address and port.
pub(crate) fn socket_address(py: Python<'_>, (host, port): &Address) -> PyResult<SocketAddr> {
    let ip = host.parse().map_err(|_| {
        EngineError::Settings(format!(
            "{host:?} is not an IP address; look names up before"
        ))
    });
    ip.map(|ip| SocketAddr::new(ip, *port)).or_raise(py)
}

/// A value of fixed length.
pub(crate) fn octets<const N: usize>(
    py: Python<'_>,
    name: &str,
    bytes: Vec<u8>,
) -> PyResult<[u8; N]> {
    let given = bytes.len();
    let sized = bytes
        .try_into()
        .map_err(|_| EngineError::Settings(format!("{name} must have {N} bytes, not {given}")));
    sized.or_raise(py)
}

fn secret(py: Python<'_>, name: &str, bytes: Option<Vec<u8>>) -> PyResult<Option<[u8; 32]>> {
    let Some(bytes) = bytes else {
        return Ok(None);
    };
    let sized = bytes
        .try_into()
        .map_err(|_| EngineError::Settings(format!("{name} must have 32 bytes")));
    sized.map(Some).or_raise(py)
}

#[pyclass(frozen, module = "legato._native")]
pub(crate) struct Identity(pub(crate) engine::Identity);

#[pymethods]
impl Identity {
    #[new]
    fn new(certificate_chain_der: Vec<Vec<u8>>, private_key_der: Vec<u8>) -> Self {
        Self(engine::Identity {
            certificate_chain: certificate_chain_der,
            private_key: private_key_der,
        })
    }
}

#[pyclass(frozen, module = "legato._native")]
pub(crate) struct EndpointKeys(pub(crate) engine::EndpointKeys);

#[pymethods]
impl EndpointKeys {
    #[new]
    #[pyo3(signature = (reset_key=None, token_key=None, ticket_key=None, connection_id=None, fleet=None))]
    fn new(
        py: Python<'_>,
        reset_key: Option<Vec<u8>>,
        token_key: Option<Vec<u8>>,
        ticket_key: Option<Vec<u8>>,
        connection_id: Option<(usize, Vec<u8>)>,
        fleet: Option<&FleetMember>,
    ) -> PyResult<Self> {
        let layout =
            connection_id.map(|(length, prefix)| engine::ConnectionIdLayout { length, prefix });
        Ok(Self(engine::EndpointKeys {
            reset_key: secret(py, "reset_key", reset_key)?,
            token_key: secret(py, "token_key", token_key)?,
            ticket_key: secret(py, "ticket_key", ticket_key)?,
            connection_id: layout,
            fleet: fleet.map(|fleet| fleet.0.clone()),
        }))
    }
}

#[pyclass(frozen, module = "legato._native")]
pub(crate) struct ConnectTarget(pub(crate) engine::ConnectTarget);

#[pymethods]
impl ConnectTarget {
    #[new]
    #[pyo3(signature = (
        addresses, server_name, authority, path, origin=None, headers=Vec::new(), certificate_hashes=Vec::new(),
        roots=None, system_roots=false,
    ))]
    #[allow(clippy::too_many_arguments)] // one keyword per field of the value
    fn new(
        py: Python<'_>,
        addresses: Vec<Address>,
        server_name: String,
        authority: String,
        path: String,
        origin: Option<String>,
        headers: Vec<(String, String)>,
        certificate_hashes: Vec<Vec<u8>>,
        roots: Option<Vec<Vec<u8>>>,
        system_roots: bool,
    ) -> PyResult<Self> {
        let mut resolved = Vec::new();
        for (host, port) in &addresses {
            resolved.extend(resolve(host, *port).or_raise(py)?);
        }
        let mut hashes = Vec::new();
        for hash in certificate_hashes {
            hashes.extend(secret(py, "a certificate hash", Some(hash))?);
        }
        Ok(Self(engine::ConnectTarget {
            addresses: resolved,
            server_name,
            authority,
            path,
            origin,
            headers,
            certificate_hashes: hashes,
            roots: roots.unwrap_or_default(),
            system_roots,
        }))
    }
}

#[pyclass(frozen, get_all, module = "legato._native")]
pub(crate) struct SessionRequest {
    path: String,
    authority: String,
    origin: Option<String>,
    headers: Vec<(String, String)>,
    remote: Address,
    local: Address,
}

impl From<engine::SessionRequest> for SessionRequest {
    fn from(request: engine::SessionRequest) -> Self {
        Self {
            path: request.path,
            authority: request.authority,
            origin: request.origin,
            headers: request.headers,
            remote: address(request.remote),
            local: address(request.local),
        }
    }
}

#[pyclass(frozen, get_all, module = "legato._native")]
pub(crate) struct SessionStats {
    rtt_us: u64,
    min_rtt_us: u64,
    congestion_window: u64,
    congestion_events: u64,
    lost_packets: u64,
    lost_bytes: u64,
    sent_packets: u64,
    bytes_sent: u64,
    bytes_received: u64,
    datagrams_sent: u64,
    datagrams_received: u64,
    mtu: u16,
    path_changes: u64,
    local: Address,
    remote: Address,
}

impl From<engine::SessionStats> for SessionStats {
    fn from(stats: engine::SessionStats) -> Self {
        Self {
            rtt_us: stats.rtt_us,
            min_rtt_us: stats.min_rtt_us,
            congestion_window: stats.congestion_window,
            congestion_events: stats.congestion_events,
            lost_packets: stats.lost_packets,
            lost_bytes: stats.lost_bytes,
            sent_packets: stats.sent_packets,
            bytes_sent: stats.bytes_sent,
            bytes_received: stats.bytes_received,
            datagrams_sent: stats.datagrams_sent,
            datagrams_received: stats.datagrams_received,
            mtu: stats.mtu,
            path_changes: stats.path_changes,
            local: address(stats.local),
            remote: address(stats.remote),
        }
    }
}
