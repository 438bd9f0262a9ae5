//! Engine settings from any Python object with attributes; what it lacks keeps its default. Must not judge values: the
//! engine does.

use std::path::PathBuf;

use legato_engine::{Congestion, EngineError, Settings};
use pyo3::prelude::*;

use crate::errors::raise;
use crate::values::{socket_address, Address};

/// Read attributes that the object has into fields of the same name.
macro_rules! read {
    ($object:expr, $settings:expr, $($field:ident),+ $(,)?) => {
        $(if let Some(value) = attribute($object, stringify!($field))? {
            $settings.$field = value;
        })+
    };
}

fn attribute<'py, T: for<'a> FromPyObject<'a, 'py>>(
    object: &Bound<'py, PyAny>,
    name: &str,
) -> PyResult<Option<T>> {
    let Some(value) = object.getattr_opt(name)? else {
        return Ok(None);
    };
    value.extract().map(Some).map_err(|_| {
        raise(
            object.py(),
            EngineError::Settings(format!("the engine setting {name} has an unusable value")),
        )
    })
}

/// The settings that `object` describes.
pub(crate) fn read(object: &Bound<'_, PyAny>) -> PyResult<Settings> {
    let mut settings = Settings::default();
    read!(
        object,
        settings,
        max_idle_ms,
        keep_alive_ms,
        handshake_timeout_ms,
        initial_mtu,
        mtu_upper_bound,
        receive_window,
        stream_receive_window,
        send_window,
        send_buffer_high,
        send_buffer_limit,
        event_buffer_bytes,
        max_bidi_streams,
        max_uni_streams,
        max_sessions,
        datagram_bytes,
        max_connections,
        retry_threshold,
        initial_rtt_ms,
        cid_length,
        cid_prefix,
    );
    settings.qlog_dir = attribute::<Option<PathBuf>>(object, "qlog_dir")?.flatten();
    settings.key_log_path = attribute::<Option<PathBuf>>(object, "key_log_path")?.flatten();
    if let Some(addresses) = attribute::<Vec<Address>>(object, "preferred_addresses")? {
        let parse = |address: &Address| socket_address(object.py(), address);
        settings.preferred_addresses = addresses.iter().map(parse).collect::<PyResult<_>>()?;
    }
    if let Some(names) = attribute::<Vec<String>>(object, "alpn")? {
        settings.alpn = names.into_iter().map(String::into_bytes).collect();
    }
    if let Some(name) = attribute::<String>(object, "congestion")? {
        settings.congestion = match name.as_str() {
            "cubic" => Congestion::Cubic,
            "newreno" => Congestion::NewReno,
            _ => {
                let text = format!("congestion must be cubic or newreno, not {name:?}");
                return Err(raise(object.py(), EngineError::Settings(text)));
            }
        };
    }
    Ok(settings)
}
