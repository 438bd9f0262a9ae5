//! The plane in userspace: threads with sockets of their own that forward what they receive. It needs no privileges.
//!
//! Owns starting, stopping, handing sockets on, and replacing the view. Must not know where views come from.
//!
//! # Theory of operation
//!
//! Each thread has a socket for each address; sockets of one address share it (SO_REUSEPORT). A thread takes a batch of
//! datagrams, judges each, and sends what comes of the batch. It owns everything it works with but the view, which it
//! looks for anew when a counter says that there is another one.
//!
//! As nothing is remembered, a plane may end in any way and another may begin at any time. Sockets can be handed on:
//! what arrives between two planes then waits in them, and no packet is lost.

mod address;
mod control;
mod count;
mod inbox;
mod mailbag;
mod outbox;
mod socket;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use rustc_hash::FxHashMap;
use rustix::event::{eventfd, EventfdFlags};

pub(crate) use self::count::FIELDS;
use self::count::{Meter, Published};
pub use self::count::{Totals, Traffic};
use self::socket::Socket;
use self::worker::Worker;
use crate::xdp::XdpCounts;
use crate::{interfaces, Backend, PlaneError, View};

/// A view in force, with the meters of its backends in their order.
struct Live {
    view: Arc<View>,
    meters: Vec<Arc<Meter>>,
}

/// What the threads of a plane have in common.
struct Shared {
    live: Mutex<Arc<Live>>,
    /// Counts views, so that threads need the lock only when there is a new one.
    generation: AtomicU64,
    stop: OwnedFd,
    published: Box<[Published]>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Arc<Live>> {
        let lock = self.live.lock();
        // What it holds is replaced in one step, so it is whole whatever happened.
        lock.unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn live(&self) -> Arc<Live> {
        self.lock().clone()
    }
}

/// What was counted until now.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// All threads together.
    pub totals: Totals,
    /// The backends of the view, each with its traffic since it was first in one.
    pub backends: Vec<(Backend, Traffic)>,
    /// Datagrams that the system dropped because the threads did not keep up.
    pub overflows: u64,
    /// Each thread by itself.
    pub threads: Vec<Totals>,
    /// Threads that are at work. Fewer than `threads` means that the system failed one.
    pub working: usize,
}

impl Statistics {
    /// Adds what the program in the kernel has counted, which met the packets first.
    pub fn add(&mut self, counts: &XdpCounts) {
        self.totals.add(counts.totals);
        let theirs: FxHashMap<SocketAddr, Traffic> = counts.backends.iter().copied().collect();
        for (backend, traffic) in &mut self.backends {
            if let Some(more) = theirs.get(&backend.address) {
                traffic.requests += more.requests;
                traffic.replies += more.replies;
            }
        }
    }
}

/// Threads that forward packets. Dropping it stops them.
pub struct Plane {
    shared: Arc<Shared>,
    sockets: Vec<Arc<Socket>>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Plane {
    /// Listens on these addresses and forwards with this many threads; 0 means one for each core.
    ///
    /// An unspecified address listens on all addresses of its family, and replies leave from the one that was hit. With
    /// port 0 the system chooses one for each address; [`Plane::addresses`] tells it.
    pub fn start(
        addresses: &[SocketAddr],
        threads: usize,
        view: impl Into<Arc<View>>,
    ) -> Result<Self, PlaneError> {
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let mut sockets = Vec::new();
        for &address in addresses {
            let failed = |error| PlaneError::Listen(address, error);
            let first = Socket::bind(address).map_err(failed)?;
            let local = first.local();
            sockets.push(first);
            for _ in 1..threads {
                sockets.push(Socket::bind(local).map_err(failed)?);
            }
        }
        Self::run(sockets, threads, view.into())
    }

    /// Goes on with the sockets of another plane ([`Plane::stop`], or [`Plane::descriptors`] passed to another process),
    /// with as many threads as an address has sockets.
    pub fn inherit(
        descriptors: Vec<OwnedFd>,
        view: impl Into<Arc<View>>,
    ) -> Result<Self, PlaneError> {
        let sockets = descriptors.into_iter().map(Socket::inherit);
        let sockets: Vec<Socket> = sockets
            .collect::<io::Result<_>>()
            .map_err(PlaneError::Inherited)?;
        let siblings = |address| {
            let same = sockets.iter().filter(|socket| socket.local() == address);
            same.count()
        };
        let threads = sockets.iter().map(|socket| siblings(socket.local())).max();
        Self::run(sockets, threads.unwrap_or(0), view.into())
    }

    fn run(sockets: Vec<Socket>, threads: usize, view: Arc<View>) -> Result<Self, PlaneError> {
        if sockets.is_empty() {
            return Err(PlaneError::NoListener);
        }
        let view = view_at(&view, sockets.iter().map(Socket::local));
        let system = |error: io::Error| PlaneError::System(error);
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let shared = Arc::new(Shared {
            live: Mutex::new(Arc::new(Live {
                meters: view.backends().iter().map(|_| Arc::default()).collect(),
                view,
            })),
            generation: AtomicU64::new(0),
            stop: stop.map_err(|error| system(error.into()))?,
            published: (0..threads).map(|_| Published::new()).collect(),
        });
        let mut plane = Self {
            shared: shared.clone(),
            sockets: sockets.into_iter().map(Arc::new).collect(),
            threads: Vec::new(),
        };
        for (number, sockets) in plane.shares(threads).into_iter().enumerate() {
            let worker = Worker::new(number, shared.clone(), sockets).map_err(system)?;
            let thread = std::thread::Builder::new()
                .name(format!("forwarder-{number}"))
                .spawn(move || worker.run())
                .map_err(system)?;
            plane.threads.push(thread);
        }
        Ok(plane)
    }

    /// Each thread's sockets: one of each address, as far as there are enough of them.
    fn shares(&self, threads: usize) -> Vec<Vec<Arc<Socket>>> {
        let mut shares = vec![Vec::new(); threads];
        for address in self.addresses() {
            let siblings: Vec<_> = self
                .sockets
                .iter()
                .filter(|socket| socket.local() == address)
                .collect();
            // Kernels before 4.6 cannot; then a server's replies are one thread's work.
            let _ = siblings[0].spread_replies(siblings.len() as u32);
            for (at, socket) in siblings.into_iter().enumerate() {
                shares[at % threads].push(socket.clone());
            }
        }
        shares
    }

    /// Where it listens, each address once.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for socket in &self.sockets {
            if !addresses.contains(&socket.local()) {
                addresses.push(socket.local());
            }
        }
        addresses
    }

    /// Decides by this view from the next batch on.
    pub fn set_view(&self, view: impl Into<Arc<View>>) {
        let view = view_at(&view.into(), self.addresses().into_iter());
        let mut live = self.shared.lock();
        let known = |address| {
            let at = live.view.by_address.get(&address);
            at.map(|at| live.meters[usize::from(*at)].clone())
        };
        let meters = view
            .backends()
            .iter()
            .map(|backend| known(backend.address).unwrap_or_default())
            .collect();
        let before = std::mem::replace(&mut *live, Arc::new(Live { view, meters }));
        self.shared.generation.fetch_add(1, Ordering::Release);
        drop(live);
        drop(before);
    }

    /// What was counted until now. No thread of the plane waits for it.
    pub fn statistics(&self) -> Statistics {
        let mut totals = Totals::default();
        let published = self.shared.published.iter();
        let threads = published.map(|published| {
            published.add_to(&mut totals);
            published.read()
        });
        let threads = threads.collect();
        let live = self.shared.live();
        let meters = live.meters.iter().map(|meter| meter.read());
        let working = self.threads.iter().filter(|thread| !thread.is_finished());
        Statistics {
            totals,
            threads,
            backends: live.view.backends().iter().cloned().zip(meters).collect(),
            overflows: self.sockets.iter().map(|socket| socket.overflows()).sum(),
            working: working.count(),
        }
    }

    /// Its sockets, to be passed to another process while this one still works: the other one begins
    /// ([`Plane::inherit`]), this one stops, and no packet is lost.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.sockets.iter().map(|socket| socket.as_fd()).collect()
    }

    /// Stops, when the batches in hand are sent, and gives the sockets back for [`Plane::inherit`].
    pub fn stop(mut self) -> Vec<OwnedFd> {
        self.join();
        let sockets = std::mem::take(&mut self.sockets);
        sockets
            .into_iter()
            .filter_map(|socket| Arc::into_inner(socket).map(OwnedFd::from))
            .collect()
    }

    fn join(&mut self) {
        // It can only fail if the counter is full, and then it is readable anyway.
        let _ = rustix::io::write(&self.shared.stop, &1u64.to_ne_bytes());
        for thread in self.threads.drain(..) {
            // How it ended was to be seen in the statistics.
            let _ = thread.join();
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.join();
    }
}

/// The view of a balancer that listens there.
fn view_at(view: &View, listeners: impl Iterator<Item = SocketAddr>) -> Arc<View> {
    let listeners: Vec<SocketAddr> = listeners.collect();
    // Without the list, those that are spelled out are known.
    let assigned = interfaces::addresses().unwrap_or_default();
    Arc::new(view.standing_at(&interfaces::expand(&listeners, &assigned)))
}
