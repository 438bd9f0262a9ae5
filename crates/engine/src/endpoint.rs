//! An endpoint on real sockets: the front, the thread behind it, and their common end.
//!
//! Owns start and stop. Must not know what either side does.

use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use quinn_proto::EndpointConfig;

use crate::cid::PrefixedCids;
use crate::command::NewPath;
use crate::driver::Driver;
use crate::error::EngineError;
use crate::fleet::{Fleet, ResetKeys, RoutableCids};
use crate::front::{Front, Ground};
use crate::identity::{ConnectionIdLayout, EndpointKeys, Identity};
use crate::reactor::{Doorbell, Reactor};
use crate::readiness::Readiness;
use crate::server_secrets::ServerSecrets;
use crate::settings::Settings;
use crate::shared::{lock, Shared};
use crate::{socket, tls};

struct SocketGround {
    doorbell: Arc<Doorbell>,
    readiness: Arc<Readiness>,
    next_via: AtomicU32,
}

impl Ground for SocketGround {
    fn path(&self, remote: SocketAddr, local: Option<SocketAddr>) -> Result<NewPath, EngineError> {
        let socket = socket::client(remote, local)?;
        let local = socket
            .local_addr()
            .map_err(|error| EngineError::Io(error.to_string()))?;
        let via = self.next_via.fetch_add(1, Ordering::Relaxed);
        Ok(NewPath {
            via,
            local,
            remote,
            socket: Some(socket),
        })
    }

    fn wake(&self) {
        self.doorbell.ring();
    }

    fn hurry(&self) {
        self.doorbell.hurry();
    }

    fn clear_readiness(&self) {
        self.readiness.clear();
    }

    fn set_readiness(&self) {
        self.readiness.set();
    }
}

/// A server or client with a thread of its own.
pub struct Endpoint {
    front: Front,
    readiness: Arc<Readiness>,
    thread: Mutex<Option<JoinHandle<()>>>,
    locals: Vec<SocketAddr>,
    tunnel_addresses: Vec<SocketAddr>,
}

impl Endpoint {
    /// Serve on these addresses. Port 0 picks a free one; `localhost` and wildcards mean both families.
    pub fn listen(
        addresses: &[(String, u16)],
        identity: &Identity,
        settings: Settings,
        keys: &EndpointKeys,
    ) -> Result<Self, EngineError> {
        let sockets = socket::listen(addresses)?;
        Self::serve(sockets, identity, settings, keys)
    }

    /// Serve on these sockets, which are bound already.
    pub fn inherit(
        descriptors: Vec<OwnedFd>,
        identity: &Identity,
        settings: Settings,
        keys: &EndpointKeys,
    ) -> Result<Self, EngineError> {
        let sockets = descriptors.into_iter().map(socket::inherit);
        Self::serve(sockets.collect::<Result<_, _>>()?, identity, settings, keys)
    }

    fn serve(
        sockets: Vec<std::net::UdpSocket>,
        identity: &Identity,
        settings: Settings,
        keys: &EndpointKeys,
    ) -> Result<Self, EngineError> {
        let tunnel = keys.fleet.as_ref().and_then(|fleet| fleet.tunnel.as_ref());
        let mut tunnels = Vec::new();
        if let Some(tunnel) = tunnel {
            for address in &tunnel.addresses {
                tunnels.extend(socket::listen(std::slice::from_ref(address))?);
            }
        }
        let settings = match tunnel {
            Some(_) => settings.behind_balancer(),
            None => settings,
        };
        let first = tunnels.first().and_then(|socket| socket.local_addr().ok());
        let secrets = ServerSecrets::new(keys, fleet(keys, first)?)?;
        Self::start(settings, keys, Some((identity, secrets)), sockets, tunnels)
    }

    /// An endpoint that only connects; each connection gets a socket of its own.
    pub fn client(settings: Settings) -> Result<Self, EngineError> {
        Self::start(
            settings,
            &EndpointKeys::default(),
            None,
            Vec::new(),
            Vec::new(),
        )
    }

    fn start(
        settings: Settings,
        keys: &EndpointKeys,
        server: Option<(&Identity, ServerSecrets)>,
        sockets: Vec<std::net::UdpSocket>,
        tunnels: Vec<std::net::UdpSocket>,
    ) -> Result<Self, EngineError> {
        settings.validate()?;
        let io =
            |error: std::io::Error| EngineError::Io(format!("cannot start the engine: {error}"));
        let settings = Arc::new(settings);
        let shared = Arc::new(Shared::default());
        let key_log = tls::key_log(&settings)?;
        let is_server = server.is_some();
        let fleet = server.as_ref().and_then(|(_, secrets)| secrets.fleet());
        let (config, secrets) = match server {
            Some((identity, secrets)) => (
                Some(secrets.config(identity, &settings, key_log.clone())?),
                Some(secrets),
            ),
            None => (None, None),
        };
        let driver = Driver::new(
            endpoint_config(&settings, keys, fleet.clone(), None)?,
            config,
            settings.clone(),
            shared.clone(),
        );
        let readiness = Arc::new(Readiness::new().map_err(io)?);
        let mut reactor = Reactor::new(
            shared.clone(),
            readiness.clone(),
            driver,
            is_server,
            settings.max_udp_payload(),
        )
        .map_err(io)?;
        let locals = add(&mut reactor, sockets, 0, None).map_err(io)?;
        let tunnel_addresses = add(&mut reactor, tunnels, locals.len(), fleet).map_err(io)?;
        let ground = SocketGround {
            doorbell: reactor.doorbell(),
            readiness: readiness.clone(),
            next_via: AtomicU32::new((locals.len() + tunnel_addresses.len()) as u32),
        };
        let thread = spawn(reactor, shared.clone(), readiness.clone(), is_server).map_err(io)?;
        Ok(Self {
            front: Front::new(shared, settings, Box::new(ground), secrets, key_log),
            readiness,
            thread: Mutex::new(Some(thread)),
            locals,
            tunnel_addresses,
        })
    }

    /// Everything a caller can do.
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// Descriptor that is readable while there is something to drain.
    pub fn fd(&self) -> RawFd {
        self.readiness.fd()
    }

    /// Addresses that a server listens on.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.locals
    }

    /// Addresses at which a server takes encapsulated packets from balancers.
    pub fn tunnel_addresses(&self) -> &[SocketAddr] {
        &self.tunnel_addresses
    }

    /// Close every connection and end the thread; takes less than a second. Events stay to be drained. Idempotent.
    pub fn shutdown(&self) {
        let Some(thread) = lock(&self.thread).take() else {
            return;
        };
        self.front.shut_down(0, "");
        // A thread that has panicked has said so already, through `Shared::stop`.
        let _ = thread.join();
    }

    /// Give the thread up without waiting for it, in a child process that has no such thread.
    pub fn abandon(&self) {
        std::mem::forget(lock(&self.thread).take());
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Give sockets to the reactor, numbered from `first`; with a fleet they are those for balancers. Returns their addresses.
fn add(
    reactor: &mut Reactor,
    sockets: Vec<std::net::UdpSocket>,
    first: usize,
    fleet: Option<Arc<Fleet>>,
) -> std::io::Result<Vec<SocketAddr>> {
    let mut locals = Vec::new();
    for socket in sockets {
        let local = socket.local_addr()?;
        let path = NewPath {
            via: (first + locals.len()) as u32,
            local,
            remote: local,
            socket: Some(socket),
        };
        reactor.add_listener(path, fleet.clone())?;
        locals.push(local);
    }
    Ok(locals)
}

fn spawn(
    mut reactor: Reactor,
    shared: Arc<Shared>,
    readiness: Arc<Readiness>,
    is_server: bool,
) -> std::io::Result<JoinHandle<()>> {
    let name = if is_server {
        "legato-server"
    } else {
        "legato-client"
    };
    let run = move || watched(&shared, &readiness, || reactor.run());
    std::thread::Builder::new().name(name.into()).spawn(run)
}

/// Do the thread's work; however it ends, even in a panic, the caller is told.
fn watched(shared: &Shared, readiness: &Readiness, work: impl FnOnce() -> std::io::Result<()>) {
    let reason = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => "the endpoint has been shut down".to_owned(),
        Ok(Err(error)) => format!("the engine's thread failed: {error}"),
        Err(_) => "the engine's thread panicked; this is a bug".to_owned(),
    };
    shared.stop(&reason);
    readiness.set();
}

/// Endpoint-wide parts of QUIC: connection IDs and the key of stateless resets.
pub(crate) fn endpoint_config(
    settings: &Settings,
    keys: &EndpointKeys,
    fleet: Option<Arc<Fleet>>,
    seed: Option<u64>,
) -> Result<EndpointConfig, EngineError> {
    let mut config = match fleet {
        Some(fleet) => {
            let mut config = EndpointConfig::new(Arc::new(ResetKeys(fleet.clone())));
            config.cid_generator(move || Box::new(RoutableCids(fleet.clone())));
            config
        }
        None => lone_config(settings, keys, seed)?,
    };
    config
        .max_udp_payload_size(settings.max_udp_payload())
        .map_err(|error| EngineError::settings(format!("mtu_upper_bound: {error}")))?;
    if let Some(seed) = seed {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        config.rng_seed(Some(bytes));
    }
    Ok(config)
}

/// The same for an endpoint that is in no fleet.
fn lone_config(
    settings: &Settings,
    keys: &EndpointKeys,
    seed: Option<u64>,
) -> Result<EndpointConfig, EngineError> {
    let layout = keys
        .connection_id
        .clone()
        .unwrap_or_else(|| ConnectionIdLayout {
            length: settings.cid_length,
            prefix: settings.cid_prefix.clone(),
        });
    if !(4..=20).contains(&layout.length) || layout.prefix.len() + 4 > layout.length {
        return Err(EngineError::settings(
            "connection IDs have 4 to 20 bytes, at least 4 of them random",
        ));
    }
    let mut config = EndpointConfig::new(tls::reset_key(keys));
    let factory = PrefixedCids::factory(layout, seed);
    config.cid_generator(move || factory());
    Ok(config)
}

/// What makes a server a member of its fleet, if its keys say so; `tunnel` is the first address of its tunnel.
pub(crate) fn fleet(
    keys: &EndpointKeys,
    tunnel: Option<SocketAddr>,
) -> Result<Option<Arc<Fleet>>, EngineError> {
    let Some(member) = &keys.fleet else {
        return Ok(None);
    };
    Fleet::new(member, member.name(tunnel)?).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ConnectTarget;

    #[test]
    fn a_thread_that_panics_leaves_word_and_wakes_the_caller() {
        let (shared, readiness) = (Shared::default(), Readiness::new().unwrap());
        watched(&shared, &readiness, || panic!("injected"));
        assert!(shared.stopped().unwrap().contains("panicked"));
        assert!(readiness.clear(), "the descriptor was readable");
    }

    #[test]
    fn a_caller_who_had_events_waiting_is_woken_once_more_to_hear_of_the_end() {
        let (settings, shared) = (Arc::new(Settings::default()), Arc::new(Shared::default()));
        let keys = EndpointKeys::default();
        let config = endpoint_config(&settings, &keys, None, None).unwrap();
        let driver = Driver::new(config, None, settings.clone(), shared.clone());
        let readiness = Arc::new(Readiness::new().unwrap());
        let mut reactor =
            Reactor::new(shared.clone(), readiness.clone(), driver, false, 1500).unwrap();
        let ground = SocketGround {
            doorbell: reactor.doorbell(),
            readiness: readiness.clone(),
            next_via: AtomicU32::new(0),
        };
        let front = Front::new(shared.clone(), settings, Box::new(ground), None, None);
        let target = ConnectTarget {
            addresses: vec![SocketAddr::from(([127, 0, 0, 1], 9))],
            server_name: "localhost".into(),
            authority: "localhost".into(),
            path: "/".into(),
            certificate_hashes: vec![[0; 32]],
            ..ConnectTarget::default()
        };
        front.connect(target).unwrap();
        front.shut_down(0, "");
        watched(&shared, &readiness, || reactor.run());
        assert_eq!(front.drain().unwrap().len(), 1, "the session has ended");
        assert!(readiness.clear(), "the descriptor is readable again");
        assert!(front.drain().is_err());
    }
}
