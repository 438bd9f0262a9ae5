//! Carries packets between the two places through a link, on the real clock.
//!
//! Owns the loop: read what the places send, push it, hand over what is due, and sleep until the next deadline. One thread, no
//! locks. Must not know how places are made.

use std::io::Write;
use std::os::fd::AsFd;
use std::process::Child;

use legato_netem::gateway::Gateway;
use legato_netem::ip::{self, End};
use legato_netem::{Addressing, Direction, Link, Network};
use nix::poll::{ppoll, PollFd, PollFlags};
use nix::sys::time::TimeSpec;
use nix::time::{clock_gettime, ClockId};
use serde_json::Value;

use crate::lateness::Lateness;
use crate::places::{self, Place, Places};
use crate::report::{self, Account};
use crate::{failed, Failure};

/// Packets that are read from one port before the other has its turn and what is due is handed over.
const BATCH: usize = 32;
/// Longer than any packet of a device whose MTU is 1500, and than any that IP allows.
const LARGEST_PACKET: usize = 65_536;

struct Carrier {
    link: Link<Vec<u8>>,
    gateway: Gateway,
    places: Places,
    addressing: Addressing,
    began_us: Option<u64>,
    misaddressed: [u64; 2],
    refused: [u64; 2],
    lateness: [Lateness; 2],
    /// The `ip` that moves the client's addresses, while it works.
    mover: Option<Child>,
    buffer: Vec<u8>,
}

/// Carry packets until standard input ends, then say what happened.
pub fn carry(network: Network, seed: u64, places: Places) -> Result<(), Failure> {
    // The kernel may otherwise let us sleep 50 µs longer, to save power.
    nix::sys::prctl::set_timerslack(1).map_err(failed("timers stay coarse"))?;
    say(&report::ready(&places, &network))?;
    let mut carrier = Carrier {
        link: Link::new(network, seed),
        gateway: Gateway::default(),
        places,
        addressing: Addressing::default(),
        began_us: None,
        misaddressed: [0; 2],
        refused: [0; 2],
        lateness: [Lateness::new(), Lateness::new()],
        mover: None,
        buffer: vec![0; LARGEST_PACKET],
    };
    carrier.run()?;
    carrier.finish()
}

impl Carrier {
    fn run(&mut self) -> Result<(), Failure> {
        loop {
            self.hand_over();
            self.follow_addresses()?;
            let [up, down, control] = self.wait()?;
            if up {
                self.take_in(Direction::Up)?;
            }
            if down {
                self.take_in(Direction::Down)?;
            }
            if control && !self.listen() {
                return Ok(());
            }
        }
    }

    /// Sleep until a packet comes, one is due, or we are spoken to; which of the three inputs have something.
    fn wait(&self) -> Result<[bool; 3], Failure> {
        let timeout = self.link.next_deadline().map(|deadline| {
            let left = deadline.saturating_sub(now_us());
            TimeSpec::new((left / 1_000_000) as i64, (left % 1_000_000 * 1_000) as i64)
        });
        let stdin = std::io::stdin();
        let mut inputs = [
            PollFd::new(self.places.client.port.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.places.server.port.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
        ];
        match ppoll(&mut inputs, timeout, None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {
                Ok(inputs.map(|input| input.any().unwrap_or(false)))
            }
            Err(error) => Err(failed("waiting for packets")(error)),
        }
    }

    /// Push what a side sends.
    fn take_in(&mut self, direction: Direction) -> Result<(), Failure> {
        for _ in 0..BATCH {
            let port = &sender(&mut self.places, direction).port;
            let Some(length) = port
                .receive(&mut self.buffer)
                .map_err(failed("reading packets"))?
            else {
                break;
            };
            if is_housekeeping(&self.buffer[..length]) {
                continue;
            }
            let now_us = now_us();
            let mut packet = self.buffer[..length].to_vec();
            if direction == Direction::Up {
                let state = self.link.addressing(now_us);
                let source = ip::endpoint(&packet, End::Source);
                let Some(seen) = source.and_then(|own| self.gateway.outbound(state, own)) else {
                    self.misaddressed[direction as usize] += 1;
                    continue;
                };
                ip::rewrite(&mut packet, End::Source, seen);
            }
            self.link.push(now_us, direction, length as u64, packet);
        }
        Ok(())
    }

    /// Give the sides what is due.
    fn hand_over(&mut self) {
        let now = now_us();
        let state = self.link.addressing(now);
        for mut delivery in self.link.poll(now) {
            let direction = delivery.direction;
            if direction == Direction::Down {
                let written = ip::endpoint(&delivery.packet, End::Destination);
                let Some(own) = written.and_then(|seen| self.gateway.inbound(state, seen)) else {
                    self.misaddressed[direction as usize] += 1;
                    continue;
                };
                ip::rewrite(&mut delivery.packet, End::Destination, own);
            }
            if !receiver(&mut self.places, direction)
                .port
                .send(&delivery.packet)
            {
                self.refused[direction as usize] += 1;
            }
            self.lateness[direction as usize].add(now_us().saturating_sub(delivery.due_us));
        }
    }

    /// Move the client to its new addresses when the story says so; this process is in the client's namespace.
    fn follow_addresses(&mut self) -> Result<(), Failure> {
        let now = now_us();
        let wanted = self.link.addressing(now);
        if wanted == self.addressing {
            return Ok(());
        }
        if wanted.roams != self.addressing.roams {
            // One move at a time; the next waits for the one before, which takes a few milliseconds.
            self.finish_move()?;
            let batch = places::roam_batch(self.addressing.roams, wanted.roams, self.places.ipv6);
            self.mover = Some(places::start_ip(&batch)?);
        }
        self.addressing = wanted;
        say(&report::changed(now - self.began_us.unwrap_or(now), wanted))
    }

    fn finish_move(&mut self) -> Result<(), Failure> {
        self.mover.take().map_or(Ok(()), places::finish_ip)
    }

    /// Do what standard input says; false at its end.
    fn listen(&mut self) -> bool {
        let mut words = [0; 256];
        match nix::unistd::read(std::io::stdin(), &mut words) {
            Ok(0) | Err(_) => false,
            Ok(length) => {
                let text = String::from_utf8_lossy(&words[..length]);
                if text.lines().any(|line| line.trim() == "begin") {
                    let now = now_us();
                    self.began_us = Some(now);
                    self.link.begin(now);
                }
                true
            }
        }
    }

    fn finish(mut self) -> Result<(), Failure> {
        self.finish_move()?;
        let [up_late, down_late] = self.lateness;
        let accounts = [(Direction::Up, up_late), (Direction::Down, down_late)].map(
            |(direction, lateness)| {
                let dropped = sender(&mut self.places, direction).dropped_by_kernel();
                dropped.map(|dropped_by_kernel| Account {
                    statistics: self.link.statistics(direction),
                    dropped_by_kernel,
                    misaddressed: self.misaddressed[direction as usize],
                    refused: self.refused[direction as usize],
                    lateness,
                })
            },
        );
        let [up, down] = accounts;
        say(&report::done(&[up?, down?]))
    }
}

/// Whether the kernel sent this by itself, to announce its multicast groups: nobody's traffic, and no draw of the link.
fn is_housekeeping(packet: &[u8]) -> bool {
    let ip = |end| ip::endpoint(packet, end).map(|found| found.ip);
    let from_nowhere = ip(End::Source).is_some_and(|source| source.is_unspecified());
    from_nowhere || ip(End::Destination).is_some_and(|destination| destination.is_multicast())
}

fn sender(places: &mut Places, direction: Direction) -> &mut Place {
    match direction {
        Direction::Up => &mut places.client,
        Direction::Down => &mut places.server,
    }
}

fn receiver(places: &mut Places, direction: Direction) -> &mut Place {
    match direction {
        Direction::Up => &mut places.server,
        Direction::Down => &mut places.client,
    }
}

fn say(value: &Value) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::Failed(format!("nobody listens: {error}")))
}

fn now_us() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has this clock");
    now.tv_sec() as u64 * 1_000_000 + now.tv_nsec() as u64 / 1_000
}
