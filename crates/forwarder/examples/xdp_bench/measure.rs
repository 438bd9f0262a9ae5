//! The networks, the load, and whose CPU time counts.
//!
//! Owns rounds and the report. A cable (veth) joins the load with the balancer. The kernel makes frames at one end; at the
//! other a thread of the kernel (threaded NAPI) takes them, runs the program and sends them back, and its CPU time is what
//! is told: receiving, deciding, rewriting and sending. Frames that it cannot take are dropped before it sees them, so it is
//! always busy. What comes back is dropped in another thread.

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use legato_forwarder::xdp::{Mode, Sender, Sink, Xdp, XdpSettings};

use crate::packets::{Kind, BALANCER};

const ROUNDS: usize = 5;
/// Connection IDs of a round, one after the other, as beginning costs the kernel more than a thousand packets do.
const CALLERS: usize = 4;
/// Packets with each, from many ports.
const PACKETS: u32 = 200_000;
const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Nanoseconds for a packet: of the thread that forwards, and of the program in it.
struct Round {
    path: f64,
    program: f64,
    rate: f64,
}

/// Starts this program anew where it harms nobody.
pub fn in_own_network(arguments: &[String]) -> Result<()> {
    let own = std::env::current_exe()?;
    let unshare = ["--net", "--mount", "--propagation", "private", "--"];
    let status = Command::new("unshare")
        .args(unshare)
        .arg(own)
        .arg("--inside")
        .args(arguments)
        .status()?;
    if !status.success() {
        return Err("networks of one's own, or programs in the kernel, are not possible here (root is needed)".into());
    }
    Ok(())
}

fn run(command: &str) -> Result<()> {
    let mut words = command.split(' ');
    let program = words.next().unwrap_or_default();
    let done = Command::new(program).args(words).output()?;
    if !done.status.success() {
        return Err(format!(
            "{command}: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        )
        .into());
    }
    Ok(())
}

fn lay_cable() -> Result<()> {
    for command in [
        "ip link set lo up",
        "ip link add load type veth peer name balancer",
        "ip link set load up",
        "ip link set balancer up",
        "ip addr add 198.51.100.1/24 dev balancer",
        "ip route add default via 198.51.100.254 dev balancer",
        "ip neigh replace 198.51.100.254 lladdr 02:00:00:00:00:fe dev balancer nud permanent",
        // As this network sees it.
        "mount -t sysfs sysfs /sys",
        "mount -t bpf bpf /sys/fs/bpf",
    ] {
        run(command)?;
    }
    Ok(fs::write(
        "/proc/sys/net/ipv4/conf/balancer/forwarding",
        "1",
    )?)
}

fn number(interface: &str) -> Result<u32> {
    Ok(
        fs::read_to_string(format!("/sys/class/net/{interface}/ifindex"))?
            .trim()
            .parse()?,
    )
}

/// Gives an interface a thread of its own, on a processor of its own if there is another one; its number.
fn thread_of(interface: &str, processor: usize) -> Result<u32> {
    fs::write(format!("/sys/class/net/{interface}/threaded"), "1")?;
    let name = format!("napi/{interface}-");
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let named = fs::read_to_string(path.join("comm")).is_ok_and(|text| text.starts_with(&name));
        if let (true, Some(thread)) = (named, path.file_name().and_then(|name| name.to_str())) {
            run(&format!("taskset -p -c {processor} {thread}"))?;
            return Ok(thread.parse()?);
        }
    }
    Err(format!("the kernel made no thread for {interface}").into())
}

/// CPU time of a thread in nanoseconds.
fn cpu(thread: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{thread}/schedstat"))?;
    let first = text.split(' ').next().unwrap_or_default();
    Ok(first.parse()?)
}

struct Bench {
    xdp: Xdp,
    load: u32,
    _end: Sink,
    thread: u32,
}

impl Bench {
    fn new(object: &[u8]) -> Result<Self> {
        lay_cable()?;
        let last = std::thread::available_parallelism().map_or(1, usize::from) - 1;
        let interfaces = ["balancer".to_owned()];
        let settings = XdpSettings {
            object,
            interfaces: &interfaces,
            mode: Some(Mode::Native),
            pins: Path::new("/sys/fs/bpf/legato"),
        };
        let at: SocketAddr = format!("{BALANCER}:443").parse()?;
        let xdp = Xdp::attach(settings, &[at], &Kind::Plaintext.view())?;
        let load = number("load")?;
        let end = Sink::new(load)?;
        // What comes back only matters if nobody else has anything to do.
        let returning = thread_of("load", 0)?;
        run(&format!("chrt --idle --pid 0 {returning}"))?;
        let thread = thread_of("balancer", last)?;
        run(&format!("taskset -p -c 0 {}", std::process::id()))?;
        Ok(Self {
            xdp,
            load,
            _end: end,
            thread,
        })
    }

    fn send(&self, senders: &[Sender]) -> Result<()> {
        for sender in senders {
            sender.send(self.load, PACKETS)?;
        }
        Ok(())
    }

    /// What each packet of this kind costs; the program's own share is counted apart, as counting costs, too.
    fn measure(&mut self, kind: Kind) -> Result<Round> {
        self.xdp.set_view(&kind.view())?;
        let frames = (0..CALLERS as u16).map(|number| kind.frame(number));
        // All of a server's packets come from one port.
        let senders = frames.map(|frame| Sender::new(&frame, kind != Kind::Reply));
        let senders = senders.collect::<std::io::Result<Vec<_>>>()?;
        self.send(&senders[..1])?;
        let (before, busy, began) = (self.sent()?, cpu(self.thread)?, Instant::now());
        self.send(&senders)?;
        let (sent, busy, took) = (
            self.sent()? - before,
            cpu(self.thread)? - busy,
            began.elapsed(),
        );
        let usual = fs::read_to_string(STATISTICS)?;
        fs::write(STATISTICS, "1")?;
        let (time, runs) = self.xdp.program().run_time()?;
        let counted = self.send(&senders[..1]);
        fs::write(STATISTICS, usual.trim())?;
        counted?;
        let (time_after, runs_after) = self.xdp.program().run_time()?;
        Ok(Round {
            path: busy as f64 / sent as f64,
            program: (time_after - time) as f64 / (runs_after - runs) as f64,
            rate: sent as f64 / took.as_secs_f64(),
        })
    }

    /// Packets that were sent on. None may have been treated in another way.
    fn sent(&self) -> Result<u64> {
        let counts = self.xdp.counts()?;
        let sent = counts.totals.all_routed() + counts.totals.replies;
        if counts.passed != 0 || counts.totals.all_dropped() != 0 {
            return Err(format!("the program did not forward everything: {counts:?}").into());
        }
        Ok(sent)
    }
}

/// Measures all kinds in turn and prints them.
pub fn compare(arguments: &[String]) -> Result<()> {
    let object = fs::read(arguments.first().ok_or("no program")?)?;
    let mut bench = Bench::new(&object)?;
    let mut rounds: Vec<Vec<Round>> = Kind::ALL.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (rounds, kind) in rounds.iter_mut().zip(Kind::ALL) {
            rounds.push(bench.measure(kind)?);
        }
    }
    if arguments.iter().any(|word| word == "--json") {
        let kinds = Kind::ALL.iter().zip(&rounds).map(|(kind, rounds)| {
            let rounds = rounds.iter().map(|round| {
                let Round { path, program, rate } = round;
                format!("{{\"nanoseconds\":{path:.1},\"program_nanoseconds\":{program:.1},\"rate\":{rate:.0}}}")
            });
            format!("\"{}\":[{}]", kind.name(), rounds.collect::<Vec<_>>().join(","))
        });
        println!("{{{}}}", kinds.collect::<Vec<_>>().join(","));
        return Ok(());
    }
    println!(
        "{:<12}{:>10}{:>12}{:>14}",
        "", "path, ns", "program, ns", "packets/s"
    );
    for (kind, rounds) in Kind::ALL.iter().zip(&mut rounds) {
        rounds.sort_by(|one, other| one.path.total_cmp(&other.path));
        let Round {
            path,
            program,
            rate,
        } = &rounds[ROUNDS / 2];
        println!("{:<12}{path:>10.0}{program:>12.0}{rate:>14.0}", kind.name());
    }
    Ok(())
}
