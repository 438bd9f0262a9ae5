//! The program in the kernel beside the decision that it mirrors: every packet, every octet.
//!
//! The kernel runs it on frames (BPF_PROG_TEST_RUN) in a network of its own. That takes root, Linux and clang; where one
//! is missing the test says so and proves nothing.

use std::net::SocketAddr;

use legato_forwarder::xdp::{Program, TestRun, XdpCounts, XdpError};
use legato_forwarder::{
    Arrival, Backend, Direction, Reason, Route, State, Target, Verdict, View, ViewSettings,
};
use legato_quic_lb::{ConfigId, ServerId};

use crate::frames::{frame, pseudo_sum, read_frame, Frame, GATEWAY, TX};
use crate::kernel::{in_own_network, ip, network, object};
use crate::traffic::{address, configs, listeners, name, settings, Traffic, GRACE, NOW, STATES};

const DROP: u32 = 1;
const PASS: u32 = 2;

/// The program with one view, and what userspace decides by.
struct Bench {
    program: Program,
    view: View,
    interface: u32,
    traffic: Traffic,
    grace_is_over: bool,
}

/// What the program did with a datagram.
struct Outcome {
    sent: Frame,
    run: TestRun,
    before: XdpCounts,
    after: XdpCounts,
}

impl Bench {
    fn new(settings: ViewSettings, interface: u32) -> Self {
        let mut program = Program::load(&object()).unwrap();
        let grace_is_over = settings.grace == 0;
        let view = View::new(settings).unwrap();
        program.set_view(&view, &listeners(), &[interface]).unwrap();
        let servers = view
            .backends()
            .iter()
            .map(|backend| backend.address)
            .collect();
        Self {
            program,
            view,
            interface,
            traffic: Traffic::new(servers),
            grace_is_over,
        }
    }

    /// Compares what becomes of a datagram here and there; says what it was.
    fn compare(&mut self) -> &'static str {
        let (payload, from, at) = self.traffic.arrival();
        let sent = Frame {
            from,
            at,
            ecn: self.traffic.ecn(),
            payload,
        };
        let before = self.program.counts().unwrap();
        let run = self
            .program
            .test_run(&frame(&sent), self.interface, 1)
            .unwrap();
        let after = self.program.counts().unwrap();
        let outcome = Outcome {
            sent,
            run,
            before,
            after,
        };
        let datagram = &outcome.sent.payload[..];
        let now = if self.grace_is_over { u64::MAX } else { NOW };
        let verdict = self.view.judge(Arrival { datagram, from, at }, now);
        if outcome.is_left() {
            assert!(outcome.may_be_left(&verdict), "{verdict:?}: {outcome}");
            return "left to userspace";
        }
        match verdict {
            Verdict::Forward(target) => {
                let header = self.view.tag_keys().header(Direction::Request, from);
                outcome.is_sent(target.address, &[&header[..], datagram].concat());
                outcome.is_counted_for(&target)
            }
            Verdict::Reply {
                client,
                payload,
                backend,
            } => {
                outcome.is_sent(client, payload);
                let replies =
                    |counts: &XdpCounts| counts.backends[usize::from(backend.unwrap())].1.replies;
                let totals = outcome.after.totals.replies - outcome.before.totals.replies;
                assert_eq!(
                    (totals, replies(&outcome.after) - replies(&outcome.before)),
                    (1, 1),
                    "{outcome}"
                );
                "reply"
            }
            Verdict::Drop(reason) => outcome.is_dropped_for(reason),
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:?} was given {}", self.sent, self.run.verdict)
    }
}

impl Outcome {
    /// Next to nothing behind a long header, the other version of IP, or this machine itself.
    fn may_be_left(&self, verdict: &Verdict<'_>) -> bool {
        let payload = &self.sent.payload;
        let is_tiny = payload.len() < 26 && payload.first().is_some_and(|first| first & 0x80 != 0);
        let to = match verdict {
            Verdict::Forward(target) => target.address,
            Verdict::Reply { client, .. } => *client,
            Verdict::Drop(_) => return is_tiny,
        };
        let is_here = to.ip().is_loopback() || listeners().iter().any(|each| each.ip() == to.ip());
        is_tiny || is_here || to.is_ipv4() != self.sent.at.is_ipv4()
    }

    /// Whether the program left the packet to userspace, and counted that it did.
    fn is_left(&self) -> bool {
        if self.run.verdict != PASS {
            return false;
        }
        assert_eq!(self.after.passed - self.before.passed, 1, "{self}");
        assert_eq!(self.after.totals, self.before.totals, "{self}");
        true
    }

    fn is_sent(&self, to: SocketAddr, payload: &[u8]) {
        assert_eq!(
            (self.run.verdict, self.after.passed - self.before.passed),
            (TX, 0),
            "{self}"
        );
        let wanted = Frame {
            from: self.sent.at,
            at: to,
            ecn: self.sent.ecn,
            payload: payload.to_vec(),
        };
        assert_eq!(read_frame(&self.run.frame), wanted, "{self}");
        assert_eq!(self.run.frame[..6], GATEWAY, "{self}");
        assert_eq!(
            self.after.totals.received - self.before.totals.received,
            1,
            "{self}"
        );
        assert_eq!(
            self.after.totals.octets - self.before.totals.octets,
            self.sent.payload.len() as u64
        );
    }

    fn is_dropped_for(&self, reason: Reason) -> &'static str {
        assert_eq!(self.run.verdict, DROP, "{reason:?}: {self}");
        for each in Reason::ALL {
            let more = self.after.totals.dropped(*each) - self.before.totals.dropped(*each);
            assert_eq!(
                more,
                u64::from(*each == reason),
                "{each:?} {reason:?}: {self}"
            );
        }
        reason.name()
    }

    fn is_counted_for(&self, target: &Target) -> &'static str {
        for route in Route::ALL {
            let more = self.after.totals.route(*route) - self.before.totals.route(*route);
            assert_eq!(
                more,
                u64::from(*route == target.route),
                "{route:?} {target:?} {self}"
            );
        }
        let requests = |counts: &XdpCounts| {
            counts.backends[usize::from(target.backend.unwrap())]
                .1
                .requests
        };
        assert_eq!(requests(&self.after) - requests(&self.before), 1, "{self}");
        for id in 0..7 {
            let id = ConfigId::new(id).unwrap();
            let more = self.after.totals.config(id) - self.before.totals.config(id);
            assert_eq!(more, u64::from(target.config == Some(id)), "{self}");
        }
        target.route.name()
    }
}

#[test]
fn it_decides_as_userspace_does() {
    in_own_network("xdp::thousands_of_packets");
}

#[test]
fn it_leaves_the_rest_to_userspace() {
    in_own_network("xdp::strange_frames");
}

#[test]
fn views_are_replaced_while_counters_go_on() {
    in_own_network("xdp::replaced_views");
}

#[test]
fn what_is_no_program_of_this_version_is_refused() {
    for garbage in [&b""[..], b"\x7fELF", &[0; 4096]] {
        assert!(matches!(Program::load(garbage), Err(XdpError::NoProgram)));
    }
}

#[test]
#[ignore = "run by it_decides_as_userspace_does"]
fn thousands_of_packets() {
    let interface = network();
    let none: Vec<State> = STATES.iter().map(|_| State::Draining).collect();
    let mut kinds = std::collections::BTreeMap::new();
    for (states, grace, packets) in [
        (&STATES[..], GRACE, 12_000),
        (&STATES[..], 0, 3_000),
        (&none[..], GRACE, 3_000),
    ] {
        let mut bench = Bench::new(settings(states, grace), interface);
        for _ in 0..packets {
            *kinds.entry(bench.compare()).or_insert(0) += 1;
        }
    }
    // Whatever can happen has happened, but what only userspace meets.
    let elsewhere = [
        "derived_address",
        "other_family",
        "send_blocked",
        "send_too_large",
        "send_refused",
    ];
    let all = Route::ALL
        .iter()
        .map(|route| route.name())
        .chain(Reason::ALL.iter().map(|reason| reason.name()));
    for kind in all
        .chain(["reply", "left to userspace"])
        .filter(|kind| !elsewhere.contains(kind))
    {
        assert!(
            kinds.get(kind).is_some_and(|count| *count >= 3),
            "{kind}: {kinds:?}"
        );
    }
    println!("{kinds:?}");
}

/// A program with one view and a frame that it sends on.
struct Case {
    bench: Bench,
}

type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

impl Case {
    /// A packet for the first server, as it comes to one of the listeners.
    fn sound(at: SocketAddr) -> Frame {
        let from = if at.is_ipv4() {
            "192.0.2.7:5000"
        } else {
            "[2001:db8::7]:5000"
        };
        let config = &configs()[0];
        let cid = config.encode(&name(config, 1), &[9; 8], &[0; 20]).unwrap();
        let payload = [&[0x40][..], &cid, &[0xaa; 40]].concat();
        Frame {
            from: address(from),
            at,
            ecn: 0,
            payload,
        }
    }

    /// What the program returns, and how many packets it counted as passed on. Those are as they were.
    fn run(&self, octets: &[u8]) -> (u32, u64, Vec<u8>) {
        let before = self.bench.program.counts().unwrap();
        let run = self
            .bench
            .program
            .test_run(octets, self.bench.interface, 1)
            .unwrap();
        let after = self.bench.program.counts().unwrap();
        if run.verdict == PASS {
            assert_eq!(run.frame, octets);
            assert_eq!(before.totals, after.totals);
        }
        (run.verdict, after.passed - before.passed, run.frame)
    }

    fn changed(&self, at: SocketAddr, change: Change<'_>) -> (u32, u64) {
        let mut octets = frame(&Self::sound(at));
        change(&mut octets);
        let (verdict, passed, _) = self.run(&octets);
        (verdict, passed)
    }

    fn frames_that_are_not_for_it(&self, at: SocketAddr, changes: &[(&str, Change<'_>)]) {
        for (what, change) in changes {
            assert_eq!(self.changed(at, change), (PASS, 0), "{what}");
        }
    }

    /// A sum of the addresses alone: the sender leaves the rest to an interface.
    fn unfinished_checksum(&self, at: SocketAddr) {
        let sound = Self::sound(at);
        let offset = if at.is_ipv4() { 40 } else { 60 };
        let sum = pseudo_sum(sound.from, at, 8 + sound.payload.len() as u16).to_be_bytes();
        let changed = self.changed(at, &|octets| {
            octets[offset..offset + 2].copy_from_slice(&sum)
        });
        assert_eq!(changed, (PASS, 1));
    }

    /// Without a checksum it stays without one.
    fn no_checksum(&self, at: SocketAddr) {
        let mut octets = frame(&Self::sound(at));
        octets[40..42].fill(0);
        let (verdict, _, sent) = self.run(&octets);
        assert_eq!((verdict, &sent[40..42]), (TX, &[0, 0][..]));
    }
}

#[test]
#[ignore = "run by it_leaves_the_rest_to_userspace"]
fn strange_frames() {
    let interface = network();
    let case = Case {
        bench: Bench::new(settings(&STATES, GRACE), interface),
    };
    let [v4, v6] = listeners();
    assert_eq!(case.changed(v4, &|_| {}), (TX, 0));
    assert_eq!(
        case.changed(v6, &|_| {}),
        (PASS, 1),
        "its server has an address of version 4"
    );
    case.frames_that_are_not_for_it(
        v4,
        &[
            ("options", &|octets| octets[14] = 0x46),
            ("first fragment", &|octets| octets[20] = 0x20),
            ("later fragment", &|octets| octets[21] = 0x01),
            ("TCP", &|octets| octets[23] = 6),
            ("another address", &|octets| octets[33] = 2),
            ("another port", &|octets| octets[36] = 2),
            ("a VLAN", &|octets| {
                octets[12..14].copy_from_slice(&[0x81, 0])
            }),
            ("ARP", &|octets| octets[12..14].copy_from_slice(&[8, 6])),
            ("datagram longer than packet", &|octets| octets[39] += 1),
            ("datagram of no length", &|octets| octets[38..40].fill(0)),
            ("packet shorter than its header", &|octets| {
                octets[16..18].copy_from_slice(&[0, 4])
            }),
            ("packet longer than frame", &|octets| {
                octets.truncate(octets.len() - 1)
            }),
            ("end in the header of UDP", &|octets| {
                octets.truncate(14 + 20 + 5)
            }),
            ("end in the header of IP", &|octets| {
                octets.truncate(14 + 11)
            }),
            ("nothing but Ethernet", &|octets| octets.truncate(14)),
        ],
    );
    case.frames_that_are_not_for_it(
        v6,
        &[
            ("another version", &|octets| octets[14] = 0x50),
            ("a fragment", &|octets| octets[20] = 44),
            ("options", &|octets| octets[20] = 60),
            ("no checksum", &|octets| octets[60..62].fill(0)),
        ],
    );
    case.unfinished_checksum(v4);
    case.unfinished_checksum(v6);
    case.no_checksum(v4);
    // What the way there does not take, and where there is no neighbour, the system is asked about.
    ip("link set one mtu 1300");
    let mut large = Case::sound(v4);
    large.payload.resize(1270, 1);
    assert_eq!(case.run(&frame(&large)).0, PASS);
    ip("neigh del 198.51.100.254 dev one");
    assert_eq!(case.changed(v4, &|_| {}), (PASS, 1));
}

/// The same fleet, but for servers with addresses of version 6.
fn settings_v4() -> ViewSettings {
    let mut settings = settings(&STATES, GRACE);
    settings
        .backends
        .retain(|backend| backend.address.is_ipv4());
    settings
}

/// As many servers as there may be.
fn crowd() -> ViewSettings {
    let backends = (0..4096u32).map(|number| Backend {
        server_ids: vec![ServerId::new(&u64::from(number).to_be_bytes()).unwrap()],
        address: SocketAddr::from(([10, 10, (number >> 8) as u8, number as u8], 7000)),
        state: State::Ready,
        weight: 1,
    });
    ViewSettings {
        backends: backends.collect(),
        ..settings_v4()
    }
}

#[test]
#[ignore = "run by views_are_replaced_while_counters_go_on"]
fn replaced_views() {
    let interface = network();
    let mut bench = Bench::new(settings_v4(), interface);
    let listeners = listeners();
    let config = &configs()[0];
    let to = |bench: &Bench, id: &ServerId| {
        let cid = config.encode(id, &[9; 8], &[0; 20]).unwrap();
        let payload = [&[0x40][..], &cid, &[0xaa; 40]].concat();
        let octets = frame(&Frame {
            payload,
            ..Case::sound(listeners[0])
        });
        let run = bench.program.test_run(&octets, interface, 1).unwrap();
        (run.verdict == TX).then(|| read_frame(&run.frame).at)
    };
    let counted = |bench: &Bench, address: &str| {
        let counts = bench.program.counts().unwrap().backends;
        let mine = counts
            .iter()
            .find(|(each, _)| *each == self::address(address));
        mine.map(|(_, traffic)| traffic.requests)
    };
    let show = |bench: &mut Bench, settings: ViewSettings, listeners: &[SocketAddr], interface| {
        let view = View::new(settings).unwrap();
        bench
            .program
            .set_view(&view, listeners, &[interface])
            .unwrap();
    };
    let one = name(config, 1);
    let derived = ServerId::from_ipv4("10.9.0.99:7000".parse().unwrap());
    assert_eq!(to(&bench, &one), Some(address("10.9.0.1:7000")));
    assert!(to(&bench, &derived).is_some(), "hashed");
    // The first server leaves, the others keep their counters, and addresses in connection IDs are believed.
    let mut next = settings_v4();
    next.backends.remove(0);
    next.backends[0].server_ids = vec![one];
    next.allowed = vec!["10.0.0.0/8".parse().unwrap()];
    next.derived = true;
    let before = counted(&bench, "10.9.0.2:7000").unwrap();
    assert!(counted(&bench, "10.9.0.1:7000").unwrap() >= 1);
    show(&mut bench, next, &listeners, interface);
    assert_eq!(to(&bench, &one), Some(address("10.9.0.2:7000")));
    assert_eq!(counted(&bench, "10.9.0.2:7000"), Some(before + 1));
    assert_eq!(counted(&bench, "10.9.0.1:7000"), None);
    assert_eq!(to(&bench, &derived), None, "userspace knows the way");
    // It comes back with a counter that begins anew.
    show(&mut bench, settings_v4(), &listeners, interface);
    assert_eq!(counted(&bench, "10.9.0.1:7000"), Some(0));
    show(&mut bench, settings_v4(), &listeners, interface + 1000);
    assert_eq!(to(&bench, &one), None, "no interface to send by");
    show(&mut bench, settings_v4(), &[], interface);
    assert_eq!(to(&bench, &one), None, "nobody listens");
    show(&mut bench, crowd(), &listeners, interface);
    let last = ServerId::new(&4095u64.to_be_bytes()).unwrap();
    assert_eq!(to(&bench, &last), Some(address("10.10.15.255:7000")));
}
