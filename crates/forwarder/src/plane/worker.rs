//! One thread of the plane: waits for its sockets, judges what arrives, and sends what comes of it.
//!
//! Owns a batch from arrival to departure. Must not know how decisions are made or who reads the counters.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::time::{clock_gettime, ClockId};

use super::count::{Tally, Totals};
use super::inbox::{Inbox, Received};
use super::mailbag::Mailbag;
use super::outbox::{Outbox, Way};
use super::socket::Socket;
use super::{Live, Shared};
use crate::view::Micros;
use crate::{Arrival, Direction, Reason, Verdict};

/// What epoll says of the descriptor that ends the thread; sockets have their numbers.
const STOP: u64 = u64::MAX;

/// What one thread works with.
pub(crate) struct Worker {
    number: usize,
    shared: Arc<Shared>,
    sockets: Vec<Arc<Socket>>,
    outboxes: Vec<Outbox>,
    epoll: OwnedFd,
    totals: Totals,
    tally: Tally,
}

/// Memory that the kernel reads and writes; it stays on the worker's thread.
struct Desk {
    inbox: Inbox,
    mailbag: Mailbag,
}

impl Worker {
    /// A worker of these sockets; it ends when `stop` becomes readable.
    pub(crate) fn new(
        number: usize,
        shared: Arc<Shared>,
        sockets: Vec<Arc<Socket>>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let watch = |descriptor: rustix::fd::BorrowedFd<'_>, name| {
            let data = epoll::EventData::new_u64(name);
            epoll::add(&epoll, descriptor, data, epoll::EventFlags::IN)
        };
        watch(shared.stop.as_fd(), STOP)?;
        for (at, socket) in sockets.iter().enumerate() {
            watch(socket.as_fd(), at as u64)?;
        }
        let outboxes = sockets.iter().map(|_| Outbox::new(true)).collect();
        Ok(Self {
            number,
            shared,
            sockets,
            outboxes,
            epoll,
            totals: Totals::default(),
            tally: Tally::default(),
        })
    }

    /// Works until told to stop. What is in the sockets then stays there, for whoever takes them over.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut desk = Desk {
            inbox: Inbox::new(),
            mailbag: Mailbag::new(),
        };
        let mut events = Vec::with_capacity(self.sockets.len() + 1);
        let mut generation = self.shared.generation.load(Ordering::Acquire);
        let mut live = self.shared.live();
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let newest = self.shared.generation.load(Ordering::Acquire);
            if newest != generation {
                generation = newest;
                live = self.shared.live();
            }
            for event in &events {
                match event.data.u64() {
                    STOP => return Ok(()),
                    at => self.turn(at as usize, &mut desk, &live)?,
                }
            }
        }
    }

    /// One batch of one socket. What did not fit is told by epoll again, after the other sockets' turn.
    fn turn(&mut self, at: usize, desk: &mut Desk, live: &Live) -> io::Result<()> {
        let Desk { inbox, mailbag } = desk;
        inbox.receive(&self.sockets[at])?;
        if inbox.received().is_empty() {
            return Ok(());
        }
        let now = now();
        self.totals.batches += 1;
        for received in inbox.received() {
            self.totals.octets += received.len as u64;
            let end = received.start + received.len;
            let mut start = received.start;
            loop {
                let next = (start + received.segment).min(end);
                self.totals.received += 1;
                self.handle(at, received, (start, next), (inbox.octets(), live, now));
                start = next;
                if start >= end {
                    break;
                }
            }
        }
        for out in 0..self.sockets.len() {
            self.flush(out, mailbag, inbox.octets());
        }
        self.tally.settle(&live.meters);
        self.shared.published[self.number].publish(self.totals);
        Ok(())
    }

    /// One datagram, which begins and ends at these places of the inbox.
    fn handle(
        &mut self,
        at: usize,
        received: &Received,
        (start, end): (usize, usize),
        (octets, live, now): (&[u8], &Live, Micros),
    ) {
        let local = self.sockets[at].local();
        let arrived_at = match received.hit {
            Some(address) => SocketAddr::new(address, local.port()),
            None => local,
        };
        let verdict = live.view.judge(
            Arrival {
                datagram: &octets[start..end],
                from: received.from,
                at: arrived_at,
            },
            now,
        );
        let (to, backend, header, payload) = match verdict {
            Verdict::Forward(target) => {
                self.totals.count_route(&target);
                if let Some(backend) = target.backend {
                    self.tally.of(backend).requests += 1;
                }
                let keys = live.view.tag_keys();
                let header = keys.header(Direction::Request, received.from);
                (target.address, target.backend, Some(header), start..end)
            }
            Verdict::Reply {
                client,
                payload,
                backend,
            } => {
                self.totals.replies += 1;
                if let Some(backend) = backend {
                    self.tally.of(backend).replies += 1;
                }
                (client, None, None, end - payload.len()..end)
            }
            Verdict::Drop(reason) => return self.totals.count_drops(reason, 1),
        };
        let Some(out) = self.way_out(at, to) else {
            return self.totals.count_drops(Reason::OtherFamily, 1);
        };
        let way = Way {
            to,
            source: received.hit.filter(|_| out == at),
            ecn: received.ecn,
            backend,
        };
        self.outboxes[out].add(way, header, payload);
    }

    /// The socket that packets to an address leave from: the one where they arrived, or its sibling of the other family.
    fn way_out(&self, at: usize, to: SocketAddr) -> Option<usize> {
        let local = self.sockets[at].local();
        if local.is_ipv4() == to.is_ipv4() {
            return Some(at);
        }
        self.sockets.iter().position(|socket| {
            let sibling = socket.local();
            sibling.port() == local.port() && sibling.is_ipv4() == to.is_ipv4()
        })
    }

    fn flush(&mut self, out: usize, mailbag: &mut Mailbag, octets: &[u8]) {
        let outbox = &mut self.outboxes[out];
        if outbox.letters().is_empty() {
            return;
        }
        let socket = &self.sockets[out];
        let mut torn = Vec::new();
        let mut unjoinable = false;
        let letters = outbox.letters();
        let totals = &mut self.totals;
        mailbag.send(socket, letters, outbox.pieces(), octets, |at, error| {
            let letter = &letters[at];
            let code = error.raw_os_error();
            if letter.count > 1 && matches!(code, Some(libc::EINVAL | libc::EIO)) {
                unjoinable |= code == Some(libc::EIO);
                torn.push(at);
            } else {
                totals.count_drops(refusal(&error), u64::from(letter.count));
            }
        });
        for at in torn {
            let (singles, pieces) = Outbox::split(&outbox.letters()[at], outbox.pieces());
            mailbag.send(socket, &singles, &pieces, octets, |_, error| {
                totals.count_drops(refusal(&error), 1);
            });
        }
        if unjoinable {
            // The interface cannot checksum what it would have to cut up.
            outbox.stop_joining();
        }
        outbox.clear();
    }
}

fn refusal(error: &io::Error) -> Reason {
    match error.raw_os_error() {
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => Reason::SendBlocked,
        Some(libc::EMSGSIZE) => Reason::SendTooLarge,
        _ => Reason::SendRefused,
    }
}

/// The time that views are written in.
fn now() -> Micros {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as Micros * 1_000_000 + time.tv_nsec as Micros / 1000
}
