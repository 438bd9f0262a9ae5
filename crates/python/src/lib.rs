//! `legato._native`: the packet engine for Python. A list of exports, no logic.
//!
//! Owns the translation of values, events and errors in this crate's other files. Must not know what travels on streams.

mod connection_ids;
mod endpoint;
mod errors;
mod events;
mod fleet;
mod fork;
mod forwarder;
mod forwarder_view;
mod inline;
mod settings;
mod values;

use pyo3::prelude::*;

/// The packet engine: QUIC, HTTP/3 and WebTransport. See the stub file for the documentation of each name.
#[pymodule]
mod _native {
    use super::*;

    #[pymodule_export]
    use super::connection_ids::{decode_connection_id, derived_server_id, QuicLbConfig};
    #[pymodule_export]
    use super::endpoint::Endpoint;
    #[pymodule_export]
    use super::fleet::{steer_workers, FleetMember};
    #[pymodule_export]
    use super::forwarder::{Forwarder, ForwarderCounters};
    #[pymodule_export]
    use super::forwarder_view::{Backend, EncapsulationKeys, ForwarderView};
    #[pymodule_export]
    use super::inline::InlineEndpoint;
    #[pymodule_export]
    use super::values::{ConnectTarget, EndpointKeys, Identity, SessionRequest, SessionStats};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        fork::watch(module.py())?;
        events::export_kinds(module)?;
        module.add("ENGINE_VERSION", env!("CARGO_PKG_VERSION"))
    }
}
