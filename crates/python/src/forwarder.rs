//! The balancer's data plane for Python: views in, counters out.
//!
//! Owns which planes run; how packets are forwarded is `legato_forwarder`'s.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use legato_engine::EngineError;
use legato_forwarder::xdp::{self, Mode, Xdp, XdpError, XdpSettings};
use legato_forwarder::{Plane, PlaneError, Reason, Route, Statistics};
use legato_quic_lb::ConfigId;
use pyo3::prelude::*;

use crate::errors::{raise, OrRaise};
use crate::fleet::owned;
use crate::fork::Birthplace;
use crate::forwarder_view::ForwarderView;
use crate::values::{address, socket_address, Address};

type Counts = HashMap<&'static str, u64>;

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
