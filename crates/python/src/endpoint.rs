//! `Endpoint`: the operations of an endpoint as Python methods. Owns argument conversion; must not decide anything.

use std::collections::HashMap;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use legato_engine as engine;
use legato_engine::{EngineError, Front, Inline};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::errors::{raise, OrRaise};
use crate::fleet::{owned, FleetMember};
use crate::fork::Birthplace;
use crate::values::{
    address, resolve, Address, ConnectTarget, EndpointKeys, Identity, SessionStats,
};
use crate::{events, settings};

/// What stands behind the methods.
pub(crate) enum Engine {
    Threaded(Box<engine::Endpoint>),
    Inline(Box<Mutex<Inline>>),
}

#[pyclass(frozen, subclass, module = "legato._native")]
pub(crate) struct Endpoint {
    engine: Option<Engine>,
    birthplace: Birthplace,
}

impl Endpoint {
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            engine: Some(engine),
            birthplace: Birthplace::here(),
        }
    }

    fn engine(&self) -> Result<&Engine, EngineError> {
        self.birthplace.check()?;
        self.engine
            .as_ref()
            .ok_or_else(|| EngineError::Stopped("the endpoint is gone".into()))
    }

    pub(crate) fn inline(&self) -> Result<MutexGuard<'_, Inline>, EngineError> {
        match self.engine()? {
            Engine::Inline(inline) => Ok(inline
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner())),
            Engine::Threaded(_) => Err(EngineError::Misuse(
                "only an inline endpoint is stepped by hand".into(),
            )),
        }
    }

    fn front<T>(
        &self,
        py: Python<'_>,
        act: impl FnOnce(&Front) -> Result<T, EngineError>,
    ) -> PyResult<T> {
        let outcome = match self.engine().or_raise(py)? {
            Engine::Threaded(endpoint) => act(endpoint.front()),
            Engine::Inline(_) => act(self.inline().or_raise(py)?.front()),
        };
        outcome.or_raise(py)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if self.birthplace.is_here() {
            return;
        }
        // In a forked child there is no thread to end; its memory is left alone.
        if let Some(Engine::Threaded(endpoint)) = self.engine.take() {
            endpoint.abandon();
            std::mem::forget(endpoint);
        }
    }
}

/// Copy any C-contiguous buffer.
fn copy(data: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(Bytes::copy_from_slice(bytes.as_bytes()));
    }
    let py = data.py();
    let contiguous = |buffer: PyBuffer<u8>| -> PyResult<Bytes> {
        if !buffer.is_c_contiguous() {
            return Err(raise(
                py,
                EngineError::Misuse("a buffer to send must be C-contiguous".into()),
            ));
        }
        buffer.to_vec(py).map(Bytes::from)
    };
    if let Ok(buffer) = PyBuffer::<u8>::get(data) {
        return contiguous(buffer);
    }
    // Items wider than a byte (samples, say) are sent as they lie in memory.
    let view = py
        .import("builtins")?
        .getattr("memoryview")?
        .call1((data,))?;
    if !view.getattr("c_contiguous")?.extract::<bool>()? {
        return Err(raise(
            py,
            EngineError::Misuse("a buffer to send must be C-contiguous".into()),
        ));
    }
    contiguous(PyBuffer::get(&view.call_method1("cast", ("B",))?)?)
}

#[pymethods]
impl Endpoint {
    #[staticmethod]
    #[pyo3(signature = (addresses, identity, settings, keys=None))]
    fn listen(
        py: Python<'_>,
        addresses: Vec<Address>,
        identity: &Identity,
        settings: &Bound<'_, PyAny>,
        keys: Option<&EndpointKeys>,
    ) -> PyResult<Self> {
        let settings = settings::read(settings)?;
        let keys = keys.map(|keys| keys.0.clone()).unwrap_or_default();
        let identity = &identity.0;
        // Host names may have to be looked up.
        let endpoint =
            py.detach(|| engine::Endpoint::listen(&addresses, identity, settings, &keys));
        Ok(Self::new(Engine::Threaded(Box::new(
            endpoint.or_raise(py)?,
        ))))
    }

    #[staticmethod]
    #[pyo3(signature = (descriptors, identity, settings, keys=None))]
    fn inherit(
        py: Python<'_>,
        descriptors: Vec<RawFd>,
        identity: &Identity,
        settings: &Bound<'_, PyAny>,
        keys: Option<&EndpointKeys>,
    ) -> PyResult<Self> {
        let settings = settings::read(settings)?;
        let keys = keys.map(|keys| keys.0.clone()).unwrap_or_default();
        let sockets = owned(py, descriptors)?;
        let identity = &identity.0;
        let endpoint = py.detach(|| engine::Endpoint::inherit(sockets, identity, settings, &keys));
        Ok(Self::new(Engine::Threaded(Box::new(
            endpoint.or_raise(py)?,
        ))))
    }

    #[staticmethod]
    fn client(py: Python<'_>, settings: &Bound<'_, PyAny>) -> PyResult<Self> {
        let endpoint = engine::Endpoint::client(settings::read(settings)?).or_raise(py)?;
        Ok(Self::new(Engine::Threaded(Box::new(endpoint))))
    }

    fn fileno(&self, py: Python<'_>) -> PyResult<i32> {
        match self.engine().or_raise(py)? {
            Engine::Threaded(endpoint) => Ok(endpoint.fd()),
            Engine::Inline(_) => Err(raise(
                py,
                EngineError::Misuse("an inline endpoint has no descriptor".into()),
            )),
        }
    }

    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let events = self.front(py, Front::drain)?;
        events::to_list(py, events)
    }

    fn local_addresses(&self, py: Python<'_>) -> PyResult<Vec<Address>> {
        Ok(match self.engine().or_raise(py)? {
            Engine::Threaded(endpoint) => endpoint
                .local_addresses()
                .iter()
                .copied()
                .map(address)
                .collect(),
            Engine::Inline(_) => self
                .inline()
                .or_raise(py)?
                .local_addresses()
                .iter()
                .copied()
                .map(address)
                .collect(),
        })
    }

    fn tunnel_addresses(&self, py: Python<'_>) -> PyResult<Vec<Address>> {
        Ok(match self.engine().or_raise(py)? {
            Engine::Threaded(endpoint) => {
                let addresses = endpoint.tunnel_addresses().iter();
                addresses.copied().map(address).collect()
            }
            Engine::Inline(_) => Vec::new(),
        })
    }

    fn tunnel_declined(&self, py: Python<'_>) -> PyResult<HashMap<String, u64>> {
        let declined = self.front(py, |front| Ok(front.tunnel_declined()))?;
        let named = declined.into_iter();
        Ok(named.map(|(why, count)| (why.to_string(), count)).collect())
    }

    fn server_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let id = self.front(py, |front| Ok(front.server_id()))?;
        Ok(id.map(|id| PyBytes::new(py, &id)))
    }

    fn connect(&self, py: Python<'_>, target: &ConnectTarget) -> PyResult<u64> {
        self.front(py, |front| front.connect(target.0.clone()))
    }

    #[pyo3(signature = (session, headers=Vec::new()))]
    fn accept(&self, py: Python<'_>, session: u64, headers: Vec<(String, String)>) -> PyResult<()> {
        self.front(py, |front| front.accept(session, headers))
    }

    #[pyo3(signature = (session, status, headers=Vec::new()))]
    fn reject(
        &self,
        py: Python<'_>,
        session: u64,
        status: u16,
        headers: Vec<(String, String)>,
    ) -> PyResult<()> {
        self.front(py, |front| front.reject(session, status, headers))
    }

    #[pyo3(signature = (session, code=0, reason=""))]
    fn close(&self, py: Python<'_>, session: u64, code: u32, reason: &str) -> PyResult<()> {
        self.front(py, |front| front.close(session, code, reason.to_owned()))
    }

    fn drain_session(&self, py: Python<'_>, session: u64) -> PyResult<()> {
        self.front(py, |front| front.drain_session(session))
    }

    fn open_stream(&self, py: Python<'_>, session: u64, bidirectional: bool) -> PyResult<u64> {
        self.front(py, |front| front.open_stream(session, bidirectional))
    }

    #[pyo3(signature = (stream, data, fin=false))]
    fn send(
        &self,
        py: Python<'_>,
        stream: u64,
        data: &Bound<'_, PyAny>,
        fin: bool,
    ) -> PyResult<usize> {
        let data = copy(data)?;
        self.front(py, |front| front.send(stream, data, fin))
    }

    fn reset(&self, py: Python<'_>, stream: u64, code: u32) -> PyResult<()> {
        self.front(py, |front| front.reset(stream, code))
    }

    fn stop(&self, py: Python<'_>, stream: u64, code: u32) -> PyResult<()> {
        self.front(py, |front| front.stop(stream, code))
    }

    fn set_priority(&self, py: Python<'_>, stream: u64, priority: i32) -> PyResult<()> {
        self.front(py, |front| front.set_priority(stream, priority))
    }

    fn cork(&self, py: Python<'_>) -> PyResult<()> {
        self.front(py, |front| {
            front.cork();
            Ok(())
        })
    }

    fn uncork(&self, py: Python<'_>) -> PyResult<()> {
        self.front(py, |front| {
            front.uncork();
            Ok(())
        })
    }

    fn pause(&self, py: Python<'_>, stream: u64) -> PyResult<()> {
        self.front(py, |front| front.pause(stream))
    }

    fn resume(&self, py: Python<'_>, stream: u64) -> PyResult<()> {
        self.front(py, |front| front.resume(stream))
    }

    fn send_datagram(&self, py: Python<'_>, session: u64, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data = copy(data)?;
        self.front(py, |front| front.send_datagram(session, data))
    }

    fn max_datagram_size(&self, py: Python<'_>, session: u64) -> PyResult<usize> {
        self.front(py, |front| front.max_datagram_size(session))
    }

    #[pyo3(signature = (session, local_address=None))]
    fn migrate(
        &self,
        py: Python<'_>,
        session: u64,
        local_address: Option<Address>,
    ) -> PyResult<()> {
        let local = match local_address {
            Some((host, port)) => resolve(&host, port).or_raise(py)?.pop(),
            None => None,
        };
        self.front(py, |front| front.migrate(session, local))
    }

    fn stats(&self, py: Python<'_>, session: u64) -> PyResult<SessionStats> {
        self.front(py, |front| front.stats(session))
            .map(SessionStats::from)
    }

    fn set_identity(&self, py: Python<'_>, identity: &Identity) -> PyResult<()> {
        self.front(py, |front| front.set_identity(&identity.0))
    }

    fn set_fleet(&self, py: Python<'_>, member: &FleetMember) -> PyResult<()> {
        self.front(py, |front| front.set_fleet(&member.0))
    }

    #[pyo3(signature = (status=503))]
    fn refuse_new(&self, py: Python<'_>, status: Option<u16>) -> PyResult<()> {
        self.front(py, |front| front.refuse_new(status))
    }

    fn shutdown(&self, py: Python<'_>) -> PyResult<()> {
        match self.engine().or_raise(py)? {
            Engine::Threaded(endpoint) => py.detach(|| endpoint.shutdown()),
            Engine::Inline(_) => {
                return Err(raise(
                    py,
                    EngineError::Misuse(
                        "an inline endpoint is shut down at a time: shutdown_at".into(),
                    ),
                ))
            }
        }
        Ok(())
    }
}
