//! Thousands of packets, here and in userspace.

use std::net::SocketAddr;

use legato_forwarder::xdp::{TestRun, XdpCounts};
use legato_forwarder::{Arrival, Direction, Reason, Route, State, Target, Verdict, ViewSettings};
use legato_quic_lb::ConfigId;

use super::{Bench, PASS};
use crate::frames::{frame, read_frame, Frame, GATEWAY, TX};
use crate::kernel::network;
use crate::traffic::{listeners, settings, Traffic, GRACE, NOW, STATES};

const DROP: u32 = 1;

/// The same packets for the program and for what it mirrors.
struct Comparison {
    bench: Bench,
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

impl Comparison {
    fn new(settings: ViewSettings, interface: u32) -> Self {
        let servers = settings.backends.iter().map(|backend| backend.address);
        Self {
            traffic: Traffic::new(servers.collect()),
            grace_is_over: settings.grace == 0,
            bench: Bench::new(settings, interface),
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
        let bench = &self.bench;
        let before = bench.program.counts().unwrap();
        let run = bench.run(&frame(&sent));
        let after = bench.program.counts().unwrap();
        let outcome = Outcome {
            sent,
            run,
            before,
            after,
        };
        let datagram = &outcome.sent.payload[..];
        let now = if self.grace_is_over { u64::MAX } else { NOW };
        let verdict = bench.view.judge(Arrival { datagram, from, at }, now);
        if outcome.is_left() {
            assert!(outcome.may_be_left(&verdict), "{verdict:?}: {outcome}");
            return "left to userspace";
        }
        match verdict {
            Verdict::Forward(target) => {
                let header = bench.view.tag_keys().header(Direction::Request, from);
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
        let mut comparison = Comparison::new(settings(states, grace), interface);
        for _ in 0..packets {
            *kinds.entry(comparison.compare()).or_insert(0) += 1;
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
