//! The endpoint's thread: sockets, time and the two queues around one driver.
//!
//! Owns epoll, the sockets and the decision when to sleep. Never touches the interpreter: Python may be blocked for as long
//! as it likes while packets are acknowledged here. Must not know what packets mean.

use std::io::{self, IoSliceMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use legato_forwarder::Tunnel;
use mio::{Events, Interest, Poll, Registry, Token, Waker};
use quinn_proto::{EcnCodepoint, Transmit};
use quinn_udp::RecvMeta;
use rustc_hash::FxHashMap;

use crate::command::{Command, NewPath, Via};
use crate::driver::{Arrival, Driver, Exit, Outlet, Sent};
use crate::fleet::Fleet;
use crate::readiness::Readiness;
use crate::rhythm::Rhythm;
use crate::shared::Shared;
use crate::socket::{is_unreachable, receive_buffer, Departure, Socket, RECEIVE_BATCH};

const WAKE: Token = Token(usize::MAX);
/// Receive calls on one socket before the others, and the commands, get their turn.
const RECEIVE_ROUNDS: usize = 8;
/// How long a socket that was migrated away from may still receive.
const OLD_PATH: Duration = Duration::from_secs(3);
/// How long a shutdown may take to get its last packets out.
const SHUTDOWN: Duration = Duration::from_millis(500);

/// Wakes the thread, but only if it sleeps.
pub(crate) struct Doorbell {
    waker: Waker,
    asleep: AtomicBool,
    /// What has gathered is to be carried out before the pause is over.
    hurried: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Doorbell {
    /// There is a command; under load it may wait for others.
    pub(crate) fn ring(&self) {
        if self.asleep.swap(false, Ordering::SeqCst) {
            // Fails only if the descriptor is gone, and then so is the thread.
            let _ = self.waker.wake();
        }
    }

    /// There are as many commands as there will be for now.
    pub(crate) fn hurry(&self) {
        self.hurried.store(true, Ordering::SeqCst);
        self.ring();
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// The sockets of an endpoint.
struct Sockets {
    registry: Registry,
    sockets: FxHashMap<Via, Socket>,
    unreachable: Vec<Via>,
}

impl Outlet for Sockets {
    fn max_segments(&self, via: Via) -> usize {
        self.sockets.get(&via).map_or(1, Socket::max_segments)
    }

    fn is_blocked(&self, via: Via) -> bool {
        self.sockets.get(&via).is_some_and(Socket::is_blocked)
    }

    fn send(&mut self, exit: Exit, transmit: &Transmit, payload: &[u8]) -> Sent {
        let via = exit.via;
        let Some(socket) = self.sockets.get_mut(&via) else {
            return Sent::Done;
        };
        match socket.send(exit, transmit, payload) {
            Departure::Done => Sent::Done,
            Departure::Unreachable => {
                self.unreachable.push(via);
                Sent::Done
            }
            Departure::Blocked => {
                // Writability is watched only while it is waited for: it would fire for every packet otherwise.
                let interest = Interest::READABLE | Interest::WRITABLE;
                let _ = self
                    .registry
                    .reregister(&mut socket.io, token(via), interest);
                Sent::Blocked
            }
        }
    }
}

impl Sockets {
    fn add(
        &mut self,
        via: Via,
        socket: std::net::UdpSocket,
        tunnel: Option<Arc<Fleet>>,
    ) -> io::Result<()> {
        let mut socket = Socket::new(socket, tunnel)?;
        self.registry
            .register(&mut socket.io, token(via), Interest::READABLE)?;
        self.sockets.insert(via, socket);
        Ok(())
    }

    fn remove(&mut self, via: Via) {
        if let Some(mut socket) = self.sockets.remove(&via) {
            let _ = self.registry.deregister(&mut socket.io);
        }
    }

    fn retry(&mut self, via: Via) -> bool {
        let Some(socket) = self.sockets.get_mut(&via) else {
            return true;
        };
        let free = socket.retry();
        if free {
            let _ = self
                .registry
                .reregister(&mut socket.io, token(via), Interest::READABLE);
        }
        free
    }
}

fn token(via: Via) -> Token {
    Token(via as usize)
}

/// The thread's state.
pub(crate) struct Reactor {
    poll: Poll,
    doorbell: Arc<Doorbell>,
    readiness: Arc<Readiness>,
    shared: Arc<Shared>,
    driver: Driver,
    sockets: Sockets,
    /// Sockets whose last receive left something behind.
    unread: Vec<Via>,
    old_paths: Vec<(Instant, Via)>,
    is_server: bool,
    memory: Vec<u8>,
    buffer: usize,
    deadline: Option<Instant>,
    rhythm: Rhythm,
    /// Memory for the commands of a round, used again.
    commands: Vec<Command>,
}

impl Reactor {
    pub(crate) fn new(
        shared: Arc<Shared>,
        readiness: Arc<Readiness>,
        driver: Driver,
        is_server: bool,
        max_payload: u16,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let buffer = receive_buffer(max_payload);
        Ok(Self {
            doorbell: Arc::new(Doorbell {
                waker,
                asleep: AtomicBool::new(false),
                hurried: AtomicBool::new(false),
                thread: OnceLock::new(),
            }),
            sockets: Sockets {
                registry: poll.registry().try_clone()?,
                sockets: FxHashMap::default(),
                unreachable: Vec::new(),
            },
            poll,
            readiness,
            shared,
            driver,
            unread: Vec::new(),
            old_paths: Vec::new(),
            is_server,
            memory: vec![0; buffer * RECEIVE_BATCH],
            buffer,
            deadline: None,
            rhythm: Rhythm::new(Instant::now()),
            commands: Vec::new(),
        })
    }

    pub(crate) fn doorbell(&self) -> Arc<Doorbell> {
        self.doorbell.clone()
    }

    /// Take a socket of a listening endpoint; with a fleet it is the one for balancers.
    pub(crate) fn add_listener(
        &mut self,
        path: NewPath,
        tunnel: Option<Arc<Fleet>>,
    ) -> io::Result<()> {
        self.driver.add_local(path.via, path.local);
        path.socket
            .map_or(Ok(()), |socket| self.sockets.add(path.via, socket, tunnel))
    }

    /// Work until the endpoint is shut down.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let _ = self.doorbell.thread.set(std::thread::current());
        loop {
            let now = Instant::now();
            let more = self.carry_out(now);
            self.close_sockets(now);
            if self
                .deadline
                .is_some_and(|deadline| now >= deadline || self.driver.is_idle())
            {
                return Ok(());
            }
            let busy = more || !self.unread.is_empty() || self.gather();
            self.sleep(&mut events, busy)?;
            self.receive(&events);
        }
    }

    /// Do what the caller wants and what is due, and send what comes of it. True: there is more to do at once.
    fn carry_out(&mut self, now: Instant) -> bool {
        self.doorbell.hurried.store(false, Ordering::SeqCst);
        let mut commands = std::mem::take(&mut self.commands);
        self.shared.commands.take(&mut commands);
        self.rhythm.on_work(commands.len());
        for command in commands.drain(..) {
            self.apply(now, command);
        }
        self.commands = commands;
        self.driver.handle_timeouts(now);
        let more = self.driver.flush(now, &mut self.sockets);
        for via in std::mem::take(&mut self.sockets.unreachable) {
            self.driver.on_unreachable(now, via);
        }
        if self.driver.take_notify() {
            self.readiness.set();
        }
        more
    }

    fn apply(&mut self, now: Instant, mut command: Command) {
        match &mut command {
            Command::Connect { attempt, .. } => {
                for path in &mut attempt.paths {
                    attach(&mut self.sockets, path);
                }
            }
            Command::Migrate { path, .. } => attach(&mut self.sockets, path),
            Command::Shutdown { .. } => self.deadline = Some(now + SHUTDOWN),
            _ => {}
        }
        self.driver.apply(now, command);
    }

    /// Under load, let packets and commands gather for a moment; nothing that is due waits for it, and answers to what was
    /// received leave meanwhile. True: there is something to do at once.
    fn gather(&mut self) -> bool {
        let mut more = false;
        while !more && self.deadline.is_none() {
            let now = Instant::now();
            if self.doorbell.hurried.load(Ordering::SeqCst) {
                more = self.carry_out(now) || self.deadline.is_some();
                continue;
            }
            let mut pause = self.rhythm.pause(now);
            if let Some(next) = self.driver.next_timeout() {
                pause = pause.min(next.saturating_duration_since(now));
            }
            if pause.is_zero() {
                break;
            }
            std::thread::park_timeout(pause);
        }
        self.rhythm.on_round(Instant::now());
        more
    }

    fn sleep(&mut self, events: &mut Events, busy: bool) -> io::Result<()> {
        let mut timeout = Some(Duration::ZERO);
        if !busy {
            self.doorbell.asleep.store(true, Ordering::SeqCst);
            // A command that came before the flag was up did not ring.
            if self.shared.commands.is_empty() && !self.driver.has_work() {
                let next = [
                    self.driver.next_timeout(),
                    self.deadline,
                    self.old_paths.first().map(|&(when, _)| when),
                ];
                let next = next.into_iter().flatten().min();
                // Mio rounds up to the whole milliseconds that epoll counts.
                timeout = next.map(|when| when.saturating_duration_since(Instant::now()));
            }
        }
        let polled = self.poll.poll(events, timeout);
        self.doorbell.asleep.store(false, Ordering::SeqCst);
        match polled {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            other => other,
        }
    }

    fn receive(&mut self, events: &Events) {
        let now = Instant::now();
        let mut ready = std::mem::take(&mut self.unread);
        for event in events {
            if event.token() == WAKE {
                continue;
            }
            let via = event.token().0 as Via;
            if event.is_writable() && self.sockets.is_blocked(via) && self.sockets.retry(via) {
                self.driver.on_unblocked(via);
            }
            if (event.is_readable() || event.is_error()) && !ready.contains(&via) {
                ready.push(via);
            }
        }
        for via in ready {
            if self.receive_from(now, via) {
                self.unread.push(via);
            }
        }
    }

    /// Take what one socket holds; true if its turn ended before it was empty.
    fn receive_from(&mut self, now: Instant, via: Via) -> bool {
        let mut meta = [RecvMeta::default(); RECEIVE_BATCH];
        for _ in 0..RECEIVE_ROUNDS {
            let Some(socket) = self.sockets.sockets.get(&via) else {
                return false;
            };
            let mut parts = self.memory.chunks_exact_mut(self.buffer);
            let mut buffers: [IoSliceMut<'_>; RECEIVE_BATCH] =
                std::array::from_fn(|_| IoSliceMut::new(parts.next().unwrap_or_default()));
            let count = match socket.receive(&mut buffers, &mut meta) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if is_unreachable(&error) => {
                    self.driver.on_unreachable(now, via);
                    continue;
                }
                Err(_) => return false,
            };
            let door = socket.door();
            for (index, meta) in meta.iter().take(count).enumerate() {
                self.rhythm.on_received(meta.len);
                let start = index * self.buffer;
                let arrival = Arrival {
                    via,
                    remote: meta.addr,
                    local_ip: meta.dst_ip.filter(|_| self.is_server),
                    balancer: None,
                    ecn: meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
                };
                let data = &self.memory[start..start + meta.len.min(self.buffer)];
                for datagram in data.chunks(meta.stride.max(1)) {
                    let Some((arrival, datagram)) = unwrap(door.as_ref(), arrival, datagram) else {
                        continue;
                    };
                    self.driver
                        .handle_datagram(now, arrival, BytesMut::from(datagram));
                }
            }
            if count < RECEIVE_BATCH {
                return false;
            }
        }
        true
    }

    fn close_sockets(&mut self, now: Instant) {
        for (via, may_receive) in self.driver.take_released() {
            if may_receive {
                self.old_paths.push((now + OLD_PATH, via));
            } else {
                self.sockets.remove(via);
            }
        }
        while self.old_paths.first().is_some_and(|&(when, _)| when <= now) {
            let (_, via) = self.old_paths.remove(0);
            self.sockets.remove(via);
        }
    }
}

/// The packet inside a datagram of a tunnel, as if it came from the client itself; nothing if it is not genuine. What
/// comes to other sockets is the packet.
fn unwrap<'a>(
    door: Option<&(Arc<Fleet>, Arc<Tunnel>)>,
    arrival: Arrival,
    datagram: &'a [u8],
) -> Option<(Arrival, &'a [u8])> {
    let Some((fleet, tunnel)) = door else {
        return Some((arrival, datagram));
    };
    let (remote, packet) = match tunnel.receive(datagram, arrival.remote) {
        Ok(received) => received,
        Err(why) => {
            fleet.decline(why);
            return None;
        }
    };
    let balancer = Some(arrival.remote);
    Some((
        Arrival {
            remote,
            balancer,
            ..arrival
        },
        packet,
    ))
}

fn attach(sockets: &mut Sockets, path: &mut NewPath) {
    if let Some(socket) = path.socket.take() {
        // Without its socket the path is silent and the connection times out, as on a dead network.
        let _ = sockets.add(path.via, socket, None);
    }
}
