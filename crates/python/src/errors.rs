//! The engine's errors as exceptions of `legato.core.errors`. Must not invent exceptions of its own.

use legato_engine::EngineError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

const MODULE: &str = "legato.core.errors";

/// The exception for an error of the engine. Each class is looked up once.
pub(crate) fn raise(py: Python<'_>, error: EngineError) -> PyErr {
    static MISUSE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static SETTINGS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static CONNECT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static TRANSPORT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let (cell, name) = match &error {
        EngineError::Misuse(_) => (&MISUSE, "LocalProtocolError"),
        EngineError::Settings(_) => (&SETTINGS, "SettingsError"),
        EngineError::Connect(_) => (&CONNECT, "ConnectError"),
        EngineError::Io(_) | EngineError::Stopped(_) => (&TRANSPORT, "TransportError"),
    };
    match cell.import(py, MODULE, name) {
        Ok(class) => PyErr::from_type(class.clone(), error.to_string()),
        Err(failed) => failed,
    }
}

/// Shorthand for results that cross.
pub(crate) trait OrRaise<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for Result<T, EngineError> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| raise(py, error))
    }
}
