//! `InlineEndpoint`: an endpoint that the caller steps on a virtual clock. Owns conversion of datagrams.

use legato_engine::{Datagram, Inline};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::sync::Mutex;

use crate::endpoint::{Endpoint, Engine};
use crate::errors::OrRaise;
use crate::settings;
use crate::values::{address, resolve, Address, EndpointKeys, Identity};

#[pyclass(frozen, extends = Endpoint, module = "legato._native")]
pub(crate) struct InlineEndpoint;

fn wrap(py: Python<'_>, inline: Inline) -> PyResult<Py<InlineEndpoint>> {
    let base =
        PyClassInitializer::from(Endpoint::new(Engine::Inline(Box::new(Mutex::new(inline)))));
    Py::new(py, base.add_subclass(InlineEndpoint))
}

#[pymethods]
impl InlineEndpoint {
    #[staticmethod]
    #[pyo3(signature = (addresses, identity, settings, keys=None, seed=0))]
    fn server(
        py: Python<'_>,
        addresses: Vec<Address>,
        identity: &Identity,
        settings: &Bound<'_, PyAny>,
        keys: Option<&EndpointKeys>,
        seed: u64,
    ) -> PyResult<Py<Self>> {
        let mut locals = Vec::new();
        for (host, port) in &addresses {
            locals.extend(resolve(host, *port).or_raise(py)?);
        }
        let keys = keys.map(|keys| keys.0.clone()).unwrap_or_default();
        let inline = Inline::server(&locals, &identity.0, settings::read(settings)?, &keys, seed);
        wrap(py, inline.or_raise(py)?)
    }

    #[staticmethod]
    #[pyo3(signature = (settings, seed=0))]
    fn client(py: Python<'_>, settings: &Bound<'_, PyAny>, seed: u64) -> PyResult<Py<Self>> {
        wrap(
            py,
            Inline::client(settings::read(settings)?, seed).or_raise(py)?,
        )
    }

    fn handle_datagram(
        slf: &Bound<'_, Self>,
        now_us: u64,
        source: Address,
        destination: Address,
        data: &[u8],
    ) -> PyResult<()> {
        let py = slf.py();
        let parse =
            |(host, port): Address| host.parse().map(|ip| std::net::SocketAddr::new(ip, port));
        let (Ok(source), Ok(destination)) = (parse(source), parse(destination)) else {
            return Err(pyo3::exceptions::PyValueError::new_err(
                "addresses are written as IP address and port",
            ));
        };
        let datagram = Datagram {
            source,
            destination,
            data: data.to_vec(),
        };
        slf.as_super()
            .get()
            .inline()
            .or_raise(py)?
            .handle_datagram(now_us, &datagram);
        Ok(())
    }

    fn poll_transmit<'py>(
        slf: &Bound<'py, Self>,
        now_us: u64,
    ) -> PyResult<Vec<(Address, Address, Bound<'py, PyBytes>)>> {
        let py = slf.py();
        let datagrams = slf
            .as_super()
            .get()
            .inline()
            .or_raise(py)?
            .poll_transmit(now_us);
        let convert = |datagram: Datagram| {
            (
                address(datagram.source),
                address(datagram.destination),
                PyBytes::new(py, &datagram.data),
            )
        };
        Ok(datagrams.into_iter().map(convert).collect())
    }

    fn next_timeout(slf: &Bound<'_, Self>) -> PyResult<Option<u64>> {
        Ok(slf
            .as_super()
            .get()
            .inline()
            .or_raise(slf.py())?
            .next_timeout())
    }

    fn handle_timeout(slf: &Bound<'_, Self>, now_us: u64) -> PyResult<()> {
        slf.as_super()
            .get()
            .inline()
            .or_raise(slf.py())?
            .handle_timeout(now_us);
        Ok(())
    }

    fn shutdown_at(slf: &Bound<'_, Self>, now_us: u64) -> PyResult<()> {
        slf.as_super()
            .get()
            .inline()
            .or_raise(slf.py())?
            .shutdown(now_us);
        Ok(())
    }
}
