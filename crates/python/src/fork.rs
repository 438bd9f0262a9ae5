//! Use after fork: a child process has the endpoint's memory but not its thread. Owns the count of forks.

use std::sync::atomic::{AtomicU64, Ordering};

use legato_engine::EngineError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

static FORKS: AtomicU64 = AtomicU64::new(0);

/// The process in which something was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Birthplace(u64);

impl Birthplace {
    pub(crate) fn here() -> Self {
        Self(FORKS.load(Ordering::Relaxed))
    }

    pub(crate) fn is_here(self) -> bool {
        self.0 == FORKS.load(Ordering::Relaxed)
    }

    /// An error instead of a hang.
    pub(crate) fn check(self) -> Result<(), EngineError> {
        if self.is_here() {
            return Ok(());
        }
        Err(EngineError::Misuse(
            "this endpoint belongs to the parent process: make a new one after fork".into(),
        ))
    }
}

#[pyfunction]
fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Have the interpreter count forks.
pub(crate) fn watch(py: Python<'_>) -> PyResult<()> {
    let arguments = PyDict::new(py);
    arguments.set_item("after_in_child", wrap_pyfunction!(forked, py)?)?;
    py.import("os")?
        .call_method("register_at_fork", (), Some(&arguments))?;
    Ok(())
}
