//! QUIC-LB for Python: configurations, and connection IDs made and read with them. Owns conversion; the rules are
//! `legato_quic_lb`'s.

use std::net::SocketAddr;

use legato_engine::{random, EngineError};
use legato_quic_lb::{
    Config, ConfigError, ConfigId, ConfigSet, Key, Lengths, ServerId, MAX_CID_LEN,
};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::raise;
use crate::values::{octets, socket_address, Address};

pub(crate) fn refused(py: Python<'_>, error: ConfigError) -> PyErr {
    raise(py, EngineError::Settings(error.to_string()))
}

pub(crate) fn server_id(py: Python<'_>, octets: &[u8]) -> PyResult<ServerId> {
    ServerId::new(octets).map_err(|error| refused(py, error))
}

/// The set of these configurations, each at its codepoint.
pub(crate) fn config_set<'a>(
    py: Python<'_>,
    configs: impl IntoIterator<Item = &'a QuicLbConfig>,
) -> PyResult<ConfigSet> {
    let mut set = ConfigSet::new();
    for config in configs {
        set.insert(config.0.clone())
            .map_err(|error| refused(py, error))?;
    }
    Ok(set)
}

#[pyclass(frozen, from_py_object, module = "legato._native")]
#[derive(Clone)]
pub(crate) struct QuicLbConfig(pub(crate) Config);

#[pymethods]
impl QuicLbConfig {
    #[new]
    #[pyo3(signature = (codepoint, server_id_length, nonce_length, key=None, cid_length=None))]
    fn new(
        py: Python<'_>,
        codepoint: u8,
        server_id_length: usize,
        nonce_length: usize,
        key: Option<Vec<u8>>,
        cid_length: Option<usize>,
    ) -> PyResult<Self> {
        let key = key
            .map(|key| octets(py, "a QUIC-LB key", key))
            .transpose()?;
        let make = || {
            let id = ConfigId::new(codepoint)?;
            let lengths = Lengths::new(server_id_length, nonce_length)?;
            let config = match key {
                Some(key) => Config::encrypted(id, lengths, &Key::new(key)),
                None => Config::plaintext(id, lengths),
            };
            match cid_length {
                Some(length) => config.with_cid_len(length),
                None => Ok(config),
            }
        };
        make().map(Self).map_err(|error| refused(py, error))
    }

    #[staticmethod]
    fn aws_nlb() -> Self {
        Self(Config::aws_nlb())
    }

    #[getter]
    fn codepoint(&self) -> u8 {
        self.0.id().get()
    }

    #[getter]
    fn server_id_length(&self) -> usize {
        self.0.lengths().server_id()
    }

    #[getter]
    fn nonce_length(&self) -> usize {
        self.0.lengths().nonce()
    }

    #[getter]
    fn cid_length(&self) -> usize {
        self.0.cid_len()
    }

    #[getter]
    fn encrypted(&self) -> bool {
        self.0.is_encrypted()
    }

    #[pyo3(signature = (server_id, nonce, filling=None))]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        server_id: &[u8],
        nonce: &[u8],
        filling: Option<Vec<u8>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let filling: [u8; MAX_CID_LEN] = match filling {
            Some(filling) => octets(py, "the filling", filling)?,
            None => random(),
        };
        let server_id = self::server_id(py, server_id)?;
        let encoded = self.0.encode(&server_id, nonce, &filling);
        let encoded = encoded.map_err(|error| refused(py, error))?;
        Ok(PyBytes::new(py, &encoded))
    }

    fn __repr__(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// What `octets` say under these configurations: codepoint and server ID.
#[pyfunction]
#[pyo3(signature = (configs, octets, long_header=true))]
pub(crate) fn decode_connection_id<'py>(
    py: Python<'py>,
    configs: Vec<QuicLbConfig>,
    octets: &[u8],
    long_header: bool,
) -> PyResult<Option<(u8, Bound<'py, PyBytes>)>> {
    let set = config_set(py, &configs)?;
    let decoded = if long_header {
        set.decode_long(octets)
    } else {
        set.decode(octets)
    };
    Ok(decoded
        .ok()
        .map(|decoded| (decoded.config.get(), PyBytes::new(py, &decoded.server_id))))
}

/// The server ID of whoever is reached at this address.
#[pyfunction]
pub(crate) fn derived_server_id(py: Python<'_>, address: Address) -> PyResult<Bound<'_, PyBytes>> {
    let id = match socket_address(py, &address)? {
        SocketAddr::V4(address) => ServerId::from_ipv4(address),
        SocketAddr::V6(address) => ServerId::from_ipv6(*address.ip()),
    };
    Ok(PyBytes::new(py, &id))
}
