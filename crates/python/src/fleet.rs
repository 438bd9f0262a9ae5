//! A server's membership in a fleet, for Python. Owns conversion; what a member does is `legato_engine`'s.

use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use legato_engine as engine;
use legato_engine::{EngineError, Generation, Steering, TunnelSettings};
use pyo3::prelude::*;

use crate::connection_ids::{server_id, QuicLbConfig};
use crate::errors::OrRaise;
use crate::forwarder_view::{networks, EncapsulationKeys};
use crate::values::{octets, Address};

/// A configuration, and keys for resets, tokens and tickets.
type Keys = (QuicLbConfig, Vec<u8>, Vec<u8>, Vec<u8>);

#[pyclass(frozen, module = "legato._native")]
pub(crate) struct FleetMember(pub(crate) engine::FleetMember);

#[pymethods]
impl FleetMember {
    #[new]
    #[pyo3(signature = (
        generations, *, server_id=None, tunnel=Vec::new(), balancers=Vec::new(), encapsulation=None, worker=None,
        cid_lifetime_ms=600_000,
    ))]
    #[allow(clippy::too_many_arguments)] // one keyword per field of the value
    fn new(
        py: Python<'_>,
        generations: Vec<Keys>,
        server_id: Option<Vec<u8>>,
        tunnel: Vec<Address>,
        balancers: Vec<String>,
        encapsulation: Option<&EncapsulationKeys>,
        worker: Option<(u32, u32, Vec<u8>)>,
        cid_lifetime_ms: u64,
    ) -> PyResult<Self> {
        let generation = |(config, reset, token, ticket): Keys| {
            Ok(Generation {
                config: config.0,
                reset_key: octets(py, "a reset key", reset)?,
                token_key: octets(py, "a token key", token)?,
                ticket_key: octets(py, "a ticket key", ticket)?,
            })
        };
        let tunnel = match encapsulation {
            Some(keys) if !tunnel.is_empty() => Some(TunnelSettings {
                addresses: tunnel,
                keys: keys.0.clone(),
                balancers: networks(py, &balancers)?,
            }),
            _ => None,
        };
        let steering = worker.map(|(worker, workers, key)| {
            Steering::new(worker, workers, octets(py, "the key of workers", key)?).or_raise(py)
        });
        Ok(Self(engine::FleetMember {
            server_id: match server_id {
                Some(id) => Some(self::server_id(py, &id)?),
                None => None,
            },
            generations: generations
                .into_iter()
                .map(generation)
                .collect::<PyResult<_>>()?,
            tunnel,
            steering: steering.transpose()?,
            cid_lifetime: Duration::from_millis(cid_lifetime_ms),
        }))
    }
}

/// The descriptors, which are the caller's to give away.
pub(crate) fn owned(py: Python<'_>, descriptors: Vec<RawFd>) -> PyResult<Vec<OwnedFd>> {
    let owned = descriptors.into_iter().map(|descriptor| {
        // SAFETY: asking for the flags of a descriptor changes nothing, and tells whether it is open.
        #[allow(unsafe_code)]
        let open = unsafe { libc::fcntl(descriptor, libc::F_GETFD) } >= 0;
        if !open {
            let text = format!("{descriptor} is no open file descriptor");
            return Err(EngineError::Misuse(text));
        }
        // SAFETY: it is open, and the stub file says that from here on it is nobody else's.
        #[allow(unsafe_code)]
        Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
    });
    owned.collect::<Result<_, _>>().or_raise(py)
}

/// Let the datagrams of a socket's group go to the process that connection IDs name.
#[pyfunction]
pub(crate) fn steer_workers(
    py: Python<'_>,
    descriptor: RawFd,
    workers: u32,
    key: Vec<u8>,
    cid_length: usize,
) -> PyResult<()> {
    let steering =
        Steering::new(0, workers, octets(py, "the key of workers", key)?).or_raise(py)?;
    // A copy, so that the caller's descriptor stays open.
    // SAFETY: `dup` takes any number, and what it returns is nobody else's.
    #[allow(unsafe_code)]
    let copy = unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 0) };
    let [copy] = <[OwnedFd; 1]>::try_from(owned(py, vec![copy])?).expect("one for one");
    steering
        .attach(copy.as_fd(), cid_length)
        .map_err(|error| EngineError::Io(format!("the system does not steer packets: {error}")))
        .or_raise(py)
}
