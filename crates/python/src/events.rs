//! Events as flat tuples `(kind, session, stream, payload)`. Owns the numbers of the kinds.

use bytes::Bytes;
use legato_engine::{Event, EventKind};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};
use pyo3::IntoPyObjectExt;

use crate::values::{address, SessionRequest};

const SESSION_REQUESTED: u8 = 1;
const SESSION_OPENED: u8 = 2;
const SESSION_REFUSED: u8 = 3;
const CONNECT_FAILED: u8 = 4;
const STREAM_OPENED: u8 = 5;
const STREAM_DATA: u8 = 6;
const STREAM_FIN: u8 = 7;
const STREAM_RESET: u8 = 8;
const STREAM_STOPPED: u8 = 9;
const STREAM_WRITABLE: u8 = 10;
const DATAGRAM: u8 = 11;
const SESSION_DRAINING: u8 = 12;
const SESSION_CLOSED: u8 = 13;
const PATH_CHANGED: u8 = 14;

/// Make the kinds known by name.
pub(crate) fn export_kinds(module: &Bound<'_, PyModule>) -> PyResult<()> {
    for (name, kind) in [
        ("SESSION_REQUESTED", SESSION_REQUESTED),
        ("SESSION_OPENED", SESSION_OPENED),
        ("SESSION_REFUSED", SESSION_REFUSED),
        ("CONNECT_FAILED", CONNECT_FAILED),
        ("STREAM_OPENED", STREAM_OPENED),
        ("STREAM_DATA", STREAM_DATA),
        ("STREAM_FIN", STREAM_FIN),
        ("STREAM_RESET", STREAM_RESET),
        ("STREAM_STOPPED", STREAM_STOPPED),
        ("STREAM_WRITABLE", STREAM_WRITABLE),
        ("DATAGRAM", DATAGRAM),
        ("SESSION_DRAINING", SESSION_DRAINING),
        ("SESSION_CLOSED", SESSION_CLOSED),
        ("PATH_CHANGED", PATH_CHANGED),
    ] {
        module.add(name, kind)?;
    }
    Ok(())
}

/// A batch as a list of tuples.
pub(crate) fn to_list(py: Python<'_>, events: Vec<Event>) -> PyResult<Bound<'_, PyList>> {
    let tuples: Vec<Bound<'_, PyTuple>> = events
        .into_iter()
        .map(|event| to_tuple(py, event))
        .collect::<PyResult<_>>()?;
    PyList::new(py, tuples)
}

fn to_tuple(py: Python<'_>, event: Event) -> PyResult<Bound<'_, PyTuple>> {
    let (kind, payload) = match event.kind {
        EventKind::StreamData(chunks) => (STREAM_DATA, joined(py, &chunks)?.into_any()),
        EventKind::StreamFin => (STREAM_FIN, py.None().into_bound(py)),
        EventKind::StreamOpened(_, bidirectional) => {
            (STREAM_OPENED, bidirectional.into_bound_py_any(py)?)
        }
        EventKind::StreamReset(code) => (STREAM_RESET, code.into_bound_py_any(py)?),
        EventKind::StreamStopped(code) => (STREAM_STOPPED, code.into_bound_py_any(py)?),
        EventKind::StreamWritable => (STREAM_WRITABLE, py.None().into_bound(py)),
        EventKind::Datagram(data) => (DATAGRAM, PyBytes::new(py, &data).into_any()),
        EventKind::SessionRequested(_, request) => (
            SESSION_REQUESTED,
            SessionRequest::from(*request).into_bound_py_any(py)?,
        ),
        EventKind::SessionOpened(status, headers) => {
            (SESSION_OPENED, (status, headers).into_bound_py_any(py)?)
        }
        EventKind::SessionRefused(status, headers) => {
            (SESSION_REFUSED, (status, headers).into_bound_py_any(py)?)
        }
        EventKind::ConnectFailed(reason, kind) => {
            (CONNECT_FAILED, (reason, kind.name()).into_bound_py_any(py)?)
        }
        EventKind::SessionDraining => (SESSION_DRAINING, py.None().into_bound(py)),
        EventKind::SessionClosed(by, code, reason) => (
            SESSION_CLOSED,
            (by.name(), code, reason).into_bound_py_any(py)?,
        ),
        EventKind::PathChanged(remote) => (PATH_CHANGED, address(remote).into_bound_py_any(py)?),
    };
    (kind, event.session, event.stream, payload).into_pyobject(py)
}

fn joined<'py>(py: Python<'py>, chunks: &[Bytes]) -> PyResult<Bound<'py, PyBytes>> {
    if let [only] = chunks {
        return Ok(PyBytes::new(py, only));
    }
    PyBytes::new_with(py, chunks.iter().map(Bytes::len).sum(), |mut out| {
        for chunk in chunks {
            let (head, tail) = out.split_at_mut(chunk.len());
            head.copy_from_slice(chunk);
            out = tail;
        }
        Ok(())
    })
}
