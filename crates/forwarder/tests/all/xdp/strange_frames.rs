//! What the program leaves alone, and what it leaves to userspace.

use std::net::SocketAddr;

use super::{for_server, Bench, PASS};
use crate::frames::{finish_ip, frame, pseudo_sum, Frame, TX};
use crate::kernel::{ip, network};
use crate::traffic::{configs, listeners, name, settings, GRACE, STATES};

/// A program with one view and a frame that it sends on.
struct Case {
    bench: Bench,
}

type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

impl Case {
    /// A packet for the first server, as it comes to one of the listeners.
    fn sound(at: SocketAddr) -> Frame {
        for_server(&name(&configs()[0], 1), at)
    }

    /// What the program returns, and how many packets it counted as passed on. Those are as they were.
    fn run(&self, octets: &[u8]) -> (u32, u64, Vec<u8>) {
        let before = self.bench.program.counts().unwrap();
        let run = self.bench.run(octets);
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
        finish_ip(&mut octets);
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

    /// What came damaged is for the system to drop, as it does for userspace.
    fn damaged_header(&self, at: SocketAddr) {
        for place in 15..34 {
            let mut octets = frame(&Self::sound(at));
            octets[place] ^= 4;
            let (verdict, passed, _) = self.run(&octets);
            assert_eq!((verdict, passed), (PASS, 0), "{place}");
        }
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
    case.damaged_header(v4);
    case.no_checksum(v4);
    // What the way there does not take, and where there is no neighbour, the system is asked about.
    ip("link set one mtu 1300");
    let mut large = Case::sound(v4);
    large.payload.resize(1270, 1);
    assert_eq!(case.run(&frame(&large)).0, PASS);
    ip("neigh del 198.51.100.254 dev one");
    assert_eq!(case.changed(v4, &|_| {}), (PASS, 1));
}
