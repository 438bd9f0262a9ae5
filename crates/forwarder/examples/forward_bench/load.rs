//! Load: clients that send packets and count what comes back, and servers that send everything back.
//!
//! Owns rounds and the report. Must not know how a contender forwards.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use legato_forwarder::Tunnel;
use legato_quic_lb::{ConnectionId, Issuer, Nonces};
use rustix::buffer::spare_capacity;
use rustix::event::{epoll, Timespec};

use crate::contenders::{config, keys, server_id, Contender};

const CLIENTS: usize = 256;
const SERVERS: usize = 3;
const PAYLOAD: usize = 120;
const ROUNDS: usize = 5;
const WARM_UP: Duration = Duration::from_millis(200);
const ROUND: Duration = Duration::from_millis(800);
/// Packets that each client has under way when the forwarder is to be saturated.
const WINDOW: usize = 1;
/// Packets in each second when it is not.
const PACED: u64 = 15_000;
/// A client that hears nothing for so long takes its packets for lost.
const PATIENCE: Duration = Duration::from_millis(100);
/// Delays are counted in whole microseconds up to this.
const LONGEST: usize = 20_000;
/// How often servers and clients look for packets where they do not wait for them.
const TICK: Duration = Duration::from_micros(100);

/// What is measured.
///
/// Whoever waits for a packet makes its sender pay for being woken. On a network the other end is another machine, so where
/// CPU time is measured, servers and clients look for packets now and then instead of waiting for them.
#[derive(Clone, Copy, PartialEq)]
enum Load {
    /// CPU time at a fixed rate.
    Paced,
    /// CPU time when there is always something to do.
    Saturated,
    /// How long a packet takes to the server, at a fixed rate.
    Delay,
}

/// What the servers saw.
struct Seen {
    packets: AtomicU64,
    delays: Vec<AtomicU64>,
    over: AtomicBool,
}

/// What one round gave.
struct Round {
    nanoseconds: f64,
    rate: f64,
    lost: f64,
    median: usize,
    late: usize,
}

/// Measures all contenders, or those that are named, and prints them; with `--json`, one object for programs.
pub fn compare(arguments: &[String]) -> io::Result<()> {
    let json = arguments.iter().any(|word| word == "--json");
    let names: Vec<&String> = arguments.iter().filter(|word| *word != "--json").collect();
    let all = ["direct", "plane", "simple", "nginx"];
    let chosen = all.iter().filter(|name| {
        names.is_empty() || **name == "direct" || names.iter().any(|chosen| chosen == *name)
    });
    let chosen: Vec<&str> = chosen.copied().collect();
    if !json {
        println!("{PAYLOAD} octets, {CLIENTS} clients, {SERVERS} servers, one thread each, median of {ROUNDS} rounds");
    }
    let mut parts = Vec::new();
    for load in [Load::Paced, Load::Saturated, Load::Delay] {
        let mut rounds: Vec<Vec<Round>> = chosen.iter().map(|_| Vec::new()).collect();
        for _ in 0..ROUNDS {
            for (at, name) in chosen.iter().enumerate() {
                rounds[at].extend(measure(name, load)?);
            }
        }
        if json {
            parts.push(object(load, &chosen, &rounds));
        } else {
            report(load, &chosen, &mut rounds);
        }
    }
    if json {
        println!("{{{}}}", parts.join(","));
    }
    Ok(())
}

/// All rounds of one load, by contender, for programs.
fn object(load: Load, names: &[&str], rounds: &[Vec<Round>]) -> String {
    let title = match load {
        Load::Paced => "paced",
        Load::Saturated => "saturated",
        Load::Delay => "delay",
    };
    let contenders = names.iter().zip(rounds).map(|(name, rounds)| {
        let rounds = rounds.iter().map(|round| {
            // "direct" uses no CPU of a forwarder, and what is not finite is no JSON.
            let nanoseconds = if round.nanoseconds.is_finite() { round.nanoseconds } else { 0.0 };
            format!(
                "{{\"nanoseconds\":{nanoseconds:.1},\"rate\":{:.0},\"lost\":{:.6},\"median_us\":{},\"p99_us\":{}}}",
                round.rate, round.lost, round.median, round.late
            )
        });
        format!("\"{name}\":[{}]", rounds.collect::<Vec<_>>().join(","))
    });
    format!(
        "\"{title}\":{{{}}}",
        contenders.collect::<Vec<_>>().join(",")
    )
}

fn report(load: Load, names: &[&str], rounds: &mut [Vec<Round>]) {
    match load {
        Load::Paced => println!("\n{PACED} packets/s there and as many back"),
        Load::Saturated => println!("\nsaturated, {} packets under way", CLIENTS * WINDOW),
        Load::Delay => println!("\ndelay to the server at {PACED} packets/s there and back"),
    }
    let nginx = names.iter().position(|name| *name == "nginx");
    let nginx = nginx.map(|at| middle(&rounds[at], |round| round.nanoseconds));
    for (name, rounds) in names.iter().zip(rounds) {
        if rounds.is_empty() {
            println!("{name:<8} is not installed");
            continue;
        }
        if load == Load::Delay {
            let (median, late) = (
                middle(rounds, |round| round.median as f64),
                middle(rounds, |round| round.late as f64),
            );
            println!("{name:<8}{median:>8.0} us median{late:>8.0} us p99");
            continue;
        }
        if *name == "direct" {
            continue;
        }
        rounds.sort_by(|a, b| a.nanoseconds.total_cmp(&b.nanoseconds));
        let nanoseconds = middle(rounds, |round| round.nanoseconds);
        let ratio = nginx.map_or("-".into(), |nginx| format!("{:.2}", nanoseconds / nginx));
        println!(
            "{name:<8}{nanoseconds:>8.0} ns CPU/packet ({:.0}-{:.0}), {ratio} x nginx{:>10.0} packets/s{:>8.2} % lost",
            rounds[0].nanoseconds,
            rounds[rounds.len() - 1].nanoseconds,
            middle(rounds, |round| round.rate),
            100.0 * middle(rounds, |round| round.lost)
        );
    }
}

fn middle(rounds: &[Round], of: fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One round; none if the contender is not installed. "direct" is no forwarder at all.
fn measure(name: &str, load: Load) -> io::Result<Option<Round>> {
    let start = Instant::now();
    let seen = Arc::new(Seen {
        packets: AtomicU64::new(0),
        delays: (0..=LONGEST).map(|_| AtomicU64::new(0)).collect(),
        over: AtomicBool::new(false),
    });
    let mut servers = Vec::new();
    let mut threads = Vec::new();
    let encapsulated = matches!(name, "plane" | "simple");
    for _ in 0..SERVERS {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        socket.set_nonblocking(load != Load::Delay)?;
        servers.push(socket.local_addr()?);
        let seen = seen.clone();
        threads.push(std::thread::spawn(move || {
            serve(&socket, (encapsulated, load == Load::Delay), start, &seen);
        }));
    }
    let contender = match name {
        "direct" => None,
        _ => match Contender::start(name, &servers)? {
            Some(contender) => Some(contender),
            None => return Ok(None),
        },
    };
    let target = contender.as_ref().map_or(servers[0], |found| found.address);
    let mut clients = Clients::new(target, start)?;
    clients.drive(load, WARM_UP)?;
    let cpu = || contender.as_ref().map_or(Ok(0), Contender::cpu);
    let before = (cpu()?, clients.counts(&seen));
    let begin = Instant::now();
    for delay in &seen.delays {
        delay.store(0, Ordering::Relaxed);
    }
    clients.drive(load, ROUND)?;
    let after = (cpu()?, clients.counts(&seen));
    let seconds = begin.elapsed().as_secs_f64();
    drop(contender);
    seen.over.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().expect("servers do not panic");
    }
    let (sent, forwarded) = (after.1 .0 - before.1 .0, after.1 .1 - before.1 .1);
    Ok(Some(Round {
        nanoseconds: (after.0 - before.0) as f64 / forwarded as f64,
        rate: forwarded as f64 / seconds,
        lost: (1.0 - forwarded as f64 / (2 * sent) as f64).max(0.0),
        median: percentile(&seen.delays, 0.5),
        late: percentile(&seen.delays, 0.99),
    }))
}

fn percentile(delays: &[AtomicU64], share: f64) -> usize {
    let counts = || delays.iter().map(|count| count.load(Ordering::Relaxed));
    let wanted = (counts().sum::<u64>() as f64 * share) as u64;
    let mut sum = 0;
    counts()
        .position(|count| {
            sum += count;
            sum > wanted
        })
        .unwrap_or(LONGEST)
}

/// Sends everything back, one packet at a time as a server's connections would.
fn serve(socket: &UdpSocket, (encapsulated, waits): (bool, bool), start: Instant, seen: &Seen) {
    let loopback = "127.0.0.0/8".parse().expect("a network");
    let tunnel = Tunnel::new(keys(), vec![loopback]);
    let mut buffer = vec![0; 65536];
    let mut out = Vec::with_capacity(65536);
    while !seen.over.load(Ordering::Relaxed) {
        let Ok((len, from)) = socket.recv_from(&mut buffer) else {
            if !waits {
                std::thread::sleep(TICK);
            }
            continue;
        };
        out.clear();
        let mut payload = &buffer[..len];
        if encapsulated {
            let (client, inner) = tunnel.receive(payload, from).expect("genuine packets");
            out.extend_from_slice(&tunnel.reply(client));
            payload = inner;
        }
        let now = start.elapsed().as_micros() as u64;
        let stamp = payload.last_chunk().expect("more than 8 octets");
        let delay = now.saturating_sub(u64::from_be_bytes(*stamp)) as usize;
        seen.delays[delay.min(LONGEST)].fetch_add(1, Ordering::Relaxed);
        seen.packets.fetch_add(1, Ordering::Relaxed);
        out.extend_from_slice(payload);
        let _ = socket.send_to(&out, from);
    }
}

/// Clients with a port and a connection ID each.
struct Clients {
    sockets: Vec<UdpSocket>,
    packets: Vec<[u8; PAYLOAD]>,
    heard: Vec<Instant>,
    epoll: rustix::fd::OwnedFd,
    start: Instant,
    sent: u64,
    answered: u64,
    next: usize,
}

impl Clients {
    fn new(target: SocketAddr, start: Instant) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut sockets = Vec::new();
        let mut packets = Vec::new();
        for at in 0..CLIENTS {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect(target)?;
            socket.set_nonblocking(true)?;
            let name = epoll::EventData::new_u64(at as u64);
            epoll::add(&epoll, &socket, name, epoll::EventFlags::IN)?;
            sockets.push(socket);
            packets.push(packet(&connection_id(at)));
        }
        Ok(Self {
            heard: vec![Instant::now(); CLIENTS],
            sockets,
            packets,
            epoll,
            start,
            sent: 0,
            answered: 0,
            next: 0,
        })
    }

    /// Packets sent, and packets forwarded in both directions.
    fn counts(&self, seen: &Seen) -> (u64, u64) {
        let requests = seen.packets.load(Ordering::Relaxed);
        (self.sent, requests + self.answered)
    }

    fn send(&mut self, at: usize) {
        let stamp = self.start.elapsed().as_micros() as u64;
        let packet = &mut self.packets[at];
        packet[PAYLOAD - 8..].copy_from_slice(&stamp.to_be_bytes());
        // A forwarder that is not up yet refuses; the next one will arrive.
        if self.sockets[at].send(packet).is_ok() {
            self.sent += 1;
        }
    }

    fn drive(&mut self, load: Load, duration: Duration) -> io::Result<()> {
        let begin = Instant::now();
        let mut due = 0;
        while begin.elapsed() < duration {
            match load {
                Load::Paced | Load::Delay => {
                    let now = begin.elapsed().as_micros() as u64 * PACED / 1_000_000;
                    while due < now {
                        self.next = (self.next + 1) % CLIENTS;
                        self.send(self.next);
                        due += 1;
                    }
                    self.hear(load)?;
                }
                Load::Saturated => {
                    for at in 0..CLIENTS {
                        if self.heard[at].elapsed() > PATIENCE
                            || self.sent < (WINDOW * CLIENTS) as u64
                        {
                            self.heard[at] = Instant::now();
                            (0..WINDOW).for_each(|_| self.send(at));
                        }
                    }
                    self.hear(load)?;
                }
            }
        }
        Ok(())
    }

    /// Takes all answers; a saturating client sends another packet for each.
    fn hear(&mut self, load: Load) -> io::Result<()> {
        std::thread::sleep(TICK / 2);
        let mut events = Vec::with_capacity(CLIENTS);
        let now = Some(&Timespec::default());
        match epoll::wait(&self.epoll, spare_capacity(&mut events), now) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut buffer = [0; 2048];
        for event in events {
            let at = event.data.u64() as usize;
            while self.sockets[at].recv(&mut buffer).is_ok() {
                self.answered += 1;
                self.heard[at] = Instant::now();
                if load == Load::Saturated {
                    self.send(at);
                }
            }
        }
        Ok(())
    }
}

fn connection_id(client: usize) -> ConnectionId {
    let config = config();
    let mut issuer = Issuer::new(config.cid_len()).expect("a legal length");
    let nonces = Nonces::new([client as u8; 32]);
    issuer
        .rotate(config, server_id(client % SERVERS), nonces)
        .expect("a first configuration");
    issuer.issue(&[0; 20]).expect("enough nonces")
}

fn packet(id: &ConnectionId) -> [u8; PAYLOAD] {
    let mut packet = [0x40; PAYLOAD];
    packet[1..=id.len()].copy_from_slice(id);
    packet
}
