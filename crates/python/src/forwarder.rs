//! The balancer's data plane for Python: views in, counters out. Owns conversion; decisions are `legato_forwarder`'s.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use legato_engine::EngineError;
use legato_forwarder::xdp::{self, Mode, Xdp, XdpError, XdpSettings};
use legato_forwarder::{
    Direction, Network, Plane, PlaneError, Reason, Route, SipKey, State, Statistics, TagKeys, View,
    ViewError, ViewSettings,
};
use legato_quic_lb::ConfigId;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::connection_ids::{config_set, server_id, QuicLbConfig};
use crate::errors::{raise, OrRaise};
use crate::fleet::owned;
use crate::fork::Birthplace;
use crate::values::{address, octets, socket_address, Address};

type Counts = HashMap<&'static str, u64>;

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
pub(crate) struct ForwarderView(Arc<View>);

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

#[pyclass(frozen, get_all, module = "legato._native")]
pub(crate) struct ForwarderCounters {
    received: u64,
    octets: u64,
    replies: u64,
    batches: u64,
    overflows: u64,
    passed: u64,
    threads: usize,
    working: usize,
    routes: Counts,
    drops: Counts,
    configs: HashMap<u8, u64>,
    backends: Vec<(Address, u64, u64)>,
}

impl ForwarderCounters {
    fn new(statistics: Statistics, passed: u64) -> Self {
        let totals = statistics.totals;
        let codepoints = (0..ConfigId::COUNT as u8).filter_map(|id| ConfigId::new(id).ok());
        let each = |route: &Route| (route.name(), totals.route(*route));
        let drops = |reason: &Reason| (reason.name(), totals.dropped(*reason));
        let backends = statistics.backends.iter();
        Self {
            received: totals.received,
            octets: totals.octets,
            replies: totals.replies,
            batches: totals.batches,
            overflows: statistics.overflows,
            passed,
            threads: statistics.threads.len(),
            working: statistics.working,
            routes: Route::ALL.iter().map(each).collect(),
            drops: Reason::ALL.iter().map(drops).collect(),
            configs: codepoints.map(|id| (id.get(), totals.config(id))).collect(),
            backends: backends
                .map(|(backend, traffic)| {
                    (address(backend.address), traffic.requests, traffic.replies)
                })
                .collect(),
        }
    }
}

/// The plane in userspace, and the one in the kernel before it if there is one.
struct Planes {
    plane: Plane,
    xdp: Option<Xdp>,
}

#[pyclass(frozen, module = "legato._native")]
pub(crate) struct Forwarder {
    planes: Mutex<Option<Planes>>,
    birthplace: Birthplace,
}

fn impossible(error: XdpError) -> EngineError {
    EngineError::Io(error.to_string())
}

fn failed(error: PlaneError) -> EngineError {
    match error {
        PlaneError::NoListener => EngineError::Settings(error.to_string()),
        error => EngineError::Io(error.to_string()),
    }
}

impl Forwarder {
    fn around(py: Python<'_>, plane: Result<Plane, PlaneError>) -> PyResult<Self> {
        let plane = plane.map_err(failed).or_raise(py)?;
        Ok(Self {
            planes: Mutex::new(Some(Planes { plane, xdp: None })),
            birthplace: Birthplace::here(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Planes>> {
        let lock = self.planes.lock();
        lock.unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn with<T: Send>(
        &self,
        py: Python<'_>,
        act: impl FnOnce(&mut Planes) -> Result<T, EngineError> + Send,
    ) -> PyResult<T> {
        self.birthplace.check().or_raise(py)?;
        // The kernel may take its time, and other threads of Python need not wait for that.
        let done = py.detach(|| match self.lock().as_mut() {
            Some(planes) => act(planes),
            None => Err(EngineError::Stopped("the forwarder is closed".into())),
        });
        done.or_raise(py)
    }
}

#[pymethods]
impl Forwarder {
    #[new]
    #[pyo3(signature = (addresses, view, threads=0))]
    fn new(
        py: Python<'_>,
        addresses: Vec<Address>,
        view: &ForwarderView,
        threads: usize,
    ) -> PyResult<Self> {
        let addresses = addresses.iter().map(|address| socket_address(py, address));
        let addresses: Vec<SocketAddr> = addresses.collect::<PyResult<_>>()?;
        Self::around(py, Plane::start(&addresses, threads, view.0.clone()))
    }

    #[staticmethod]
    fn inherit(py: Python<'_>, descriptors: Vec<RawFd>, view: &ForwarderView) -> PyResult<Self> {
        let owned = owned(py, descriptors)?;
        Self::around(py, Plane::inherit(owned, view.0.clone()))
    }

    fn addresses(&self, py: Python<'_>) -> PyResult<Vec<Address>> {
        self.with(py, |planes| {
            let addresses = planes.plane.addresses().into_iter();
            Ok(addresses.map(address).collect())
        })
    }

    #[allow(clippy::too_many_arguments)] // one for each thing that an operator may choose
    fn accelerate(
        &self,
        py: Python<'_>,
        program: &[u8],
        view: &ForwarderView,
        interfaces: Vec<String>,
        mode: &str,
        pins: PathBuf,
    ) -> PyResult<(&'static str, Vec<String>, Option<String>)> {
        let mode = match mode {
            "auto" => None,
            "native" => Some(Mode::Native),
            "generic" => Some(Mode::Generic),
            _ => {
                let text = format!("the mode of XDP is auto, native or generic, not {mode:?}");
                return Err(raise(py, EngineError::Settings(text)));
            }
        };
        let settings = XdpSettings {
            object: program,
            interfaces: &interfaces,
            mode,
            pins: &pins,
        };
        self.with(py, |planes| {
            let xdp = Xdp::attach(settings, &planes.plane.addresses(), &view.0);
            let xdp = xdp.map_err(impossible)?;
            let facts = (
                xdp.mode().name(),
                xdp.interfaces(),
                xdp.note().map(str::to_owned),
            );
            planes.xdp = Some(xdp);
            Ok(facts)
        })
    }

    fn clear_kernel(
        &self,
        py: Python<'_>,
        interfaces: Vec<String>,
        pins: PathBuf,
    ) -> PyResult<Vec<String>> {
        self.with(py, |planes| {
            Ok(xdp::clear(&interfaces, &planes.plane.addresses(), &pins))
        })
    }

    fn set_view(&self, py: Python<'_>, view: &ForwarderView) -> PyResult<()> {
        self.with(py, |planes| {
            planes.plane.set_view(view.0.clone());
            let Some(xdp) = &mut planes.xdp else {
                return Ok(());
            };
            xdp.set_view(&view.0).map_err(|error| {
                // It would go on with a view that is no longer true.
                planes.xdp = None;
                impossible(error)
            })
        })
    }

    fn counters(&self, py: Python<'_>) -> PyResult<ForwarderCounters> {
        self.with(py, |planes| {
            let mut statistics = planes.plane.statistics();
            let mut passed = 0;
            if let Some(xdp) = &planes.xdp {
                let counts = xdp.counts();
                let counts = counts.map_err(|error| EngineError::Io(error.to_string()))?;
                statistics.add(&counts);
                passed = counts.passed;
            }
            Ok(ForwarderCounters::new(statistics, passed))
        })
    }

    fn descriptors(&self, py: Python<'_>) -> PyResult<Vec<RawFd>> {
        self.with(py, |planes| {
            let descriptors = planes.plane.descriptors().into_iter();
            Ok(descriptors.map(|each| each.as_raw_fd()).collect())
        })
    }

    #[pyo3(signature = (*, leave_kernel=false))]
    fn close(&self, py: Python<'_>, leave_kernel: bool) {
        if !self.birthplace.is_here() {
            return;
        }
        let planes = self.lock().take();
        py.detach(|| {
            if let Some(Planes { plane, xdp }) = planes {
                match xdp {
                    Some(xdp) if leave_kernel => xdp.leave(),
                    xdp => drop(xdp),
                }
                drop(plane);
            }
        });
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        if !self.birthplace.is_here() {
            // In a forked child there are no threads to end; its memory is left alone.
            std::mem::forget(self.lock().take());
        }
    }
}
