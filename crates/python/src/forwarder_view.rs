//! What a balancer goes by, for Python: the keys of its tunnels, its servers, and the view made of them.
//!
//! Owns conversion; what a view decides is `legato_forwarder`'s.

use std::sync::Arc;

use legato_engine::EngineError;
use legato_forwarder::{Direction, Network, SipKey, State, TagKeys, View, ViewError, ViewSettings};
use legato_quic_lb::ConfigId;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::connection_ids::{config_set, server_id, QuicLbConfig};
use crate::errors::raise;
use crate::values::{address, octets, socket_address, Address};

#[pyclass(frozen, from_py_object, module = "legato._native")]
#[derive(Clone)]
pub(crate) struct EncapsulationKeys(pub(crate) TagKeys);

#[pymethods]
impl EncapsulationKeys {
    #[new]
    #[pyo3(signature = (current, other=None))]
    fn new(py: Python<'_>, current: Vec<u8>, other: Option<Vec<u8>>) -> PyResult<Self> {
        let name = "a key of the encapsulation";
        let keys = TagKeys::new(SipKey::new(octets(py, name, current)?));
        Ok(Self(match other {
            Some(other) => keys.also_accepting(SipKey::new(octets(py, name, other)?)),
            None => keys,
        }))
    }

    fn request<'py>(
        &self,
        py: Python<'py>,
        client: Address,
        payload: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.seal(py, Direction::Request, &client, payload)
    }

    fn reply<'py>(
        &self,
        py: Python<'py>,
        client: Address,
        payload: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.seal(py, Direction::Reply, &client, payload)
    }

    fn open<'py>(
        &self,
        py: Python<'py>,
        datagram: &[u8],
    ) -> PyResult<(bool, Address, Bound<'py, PyBytes>)> {
        let opened = self.0.open(datagram);
        let opened = opened.map_err(|refused| PyValueError::new_err(refused.to_string()))?;
        let is_reply = opened.direction == Direction::Reply;
        Ok((
            is_reply,
            address(opened.client),
            PyBytes::new(py, opened.payload),
        ))
    }
}

impl EncapsulationKeys {
    fn seal<'py>(
        &self,
        py: Python<'py>,
        direction: Direction,
        client: &Address,
        payload: &[u8],
    ) -> PyResult<Bound<'py, PyBytes>> {
        let header = self.0.header(direction, socket_address(py, client)?);
        Ok(PyBytes::new(py, &[&header[..], payload].concat()))
    }
}

#[pyclass(frozen, from_py_object, module = "legato._native")]
#[derive(Clone)]
pub(crate) struct Backend(legato_forwarder::Backend);

#[pymethods]
impl Backend {
    #[new]
    #[pyo3(signature = (server_ids, address, state="ready", weight=1, dead_since_us=0))]
    fn new(
        py: Python<'_>,
        server_ids: Vec<Vec<u8>>,
        address: Address,
        state: &str,
        weight: u32,
        dead_since_us: u64,
    ) -> PyResult<Self> {
        let state = match state {
            "joining" => State::Joining,
            "ready" => State::Ready,
            "draining" => State::Draining,
            "dead" => State::Dead {
                since: dead_since_us,
            },
            _ => {
                let text = format!(
                    "the state of a server is joining, ready, draining or dead, not {state:?}"
                );
                return Err(raise(py, EngineError::Settings(text)));
            }
        };
        let ids = server_ids.iter().map(|id| server_id(py, id));
        Ok(Self(legato_forwarder::Backend {
            server_ids: ids.collect::<PyResult<_>>()?,
            address: socket_address(py, &address)?,
            state,
            weight,
        }))
    }

    #[getter]
    fn address(&self) -> Address {
        address(self.0.address)
    }

    #[getter]
    fn server_ids<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        let ids = self.0.server_ids.iter();
        ids.map(|id| PyBytes::new(py, id)).collect()
    }

    #[getter]
    fn state(&self) -> &'static str {
        match self.0.state {
            State::Joining => "joining",
            State::Ready => "ready",
            State::Draining => "draining",
            State::Dead { .. } => "dead",
        }
    }

    #[getter]
    fn weight(&self) -> u32 {
        self.0.weight
    }
}

fn unusable(py: Python<'_>, error: &ViewError) -> PyErr {
    raise(py, EngineError::Settings(error.to_string()))
}

pub(crate) fn networks(py: Python<'_>, texts: &[String]) -> PyResult<Vec<Network>> {
    let parse = |text: &String| {
        let network = text.parse::<Network>();
        network.map_err(|error| raise(py, EngineError::Settings(error.to_string())))
    };
    texts.iter().map(parse).collect()
}

#[pyclass(frozen, module = "legato._native")]
pub(crate) struct ForwarderView(pub(crate) Arc<View>);

#[pymethods]
impl ForwarderView {
    #[new]
    #[pyo3(signature = (
        configs, backends, hash_key, keys, *, allowed=Vec::new(), derived=false, balancers=Vec::new(),
        grace_us=3_000_000, max_payload=1424,
    ))]
    #[allow(clippy::too_many_arguments)] // one keyword per field of the value
    fn new(
        py: Python<'_>,
        configs: Vec<QuicLbConfig>,
        backends: Vec<Backend>,
        hash_key: Vec<u8>,
        keys: &EncapsulationKeys,
        allowed: Vec<String>,
        derived: bool,
        balancers: Vec<Address>,
        grace_us: u64,
        max_payload: usize,
    ) -> PyResult<Self> {
        let hash_key = SipKey::new(octets(py, "the hash key", hash_key)?);
        let balancers = balancers
            .iter()
            .map(|balancer| socket_address(py, balancer));
        let settings = ViewSettings {
            configs: config_set(py, &configs)?,
            backends: backends.into_iter().map(|backend| backend.0).collect(),
            allowed: networks(py, &allowed)?,
            derived,
            balancers: balancers.collect::<PyResult<_>>()?,
            grace: grace_us,
            max_payload,
            ..ViewSettings::new(hash_key, keys.0.clone())
        };
        let view = py.detach(|| View::new(settings));
        let view = view.map_err(|error| unusable(py, &error))?;
        Ok(Self(Arc::new(view)))
    }

    fn decide(
        &self,
        py: Python<'_>,
        packet: &[u8],
        client: Address,
        now_us: u64,
    ) -> PyResult<(Address, &'static str, Option<u8>)> {
        let client = socket_address(py, &client)?;
        let target = self.0.decide(packet, client, now_us);
        let target = target.map_err(|reason| PyValueError::new_err(reason.name()))?;
        let config = target.config.map(ConfigId::get);
        Ok((address(target.address), target.route.name(), config))
    }

    fn shares(&self) -> Vec<u32> {
        let mut shares = vec![0; self.0.backends().len()];
        for &place in self.0.places() {
            shares[usize::from(place)] += 1;
        }
        shares
    }
}
