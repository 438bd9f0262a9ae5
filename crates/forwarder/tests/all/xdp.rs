//! The program in the kernel beside the decision that it mirrors: every packet, every octet.
//!
//! The kernel runs it on frames (BPF_PROG_TEST_RUN) in a network of its own. That takes root, Linux and clang; where one
//! is missing the test says so and proves nothing.

mod comparison;
mod strange_frames;
mod views;

use std::net::SocketAddr;

use legato_forwarder::xdp::{Program, TestRun, XdpError};
use legato_forwarder::{View, ViewSettings};
use legato_quic_lb::ServerId;

use crate::frames::Frame;
use crate::kernel::{in_own_network, object};
use crate::traffic::{address, configs, listeners};

const PASS: u32 = 2;

/// The program with one view, and what userspace decides by.
struct Bench {
    program: Program,
    view: View,
    interface: u32,
}

impl Bench {
    fn new(settings: ViewSettings, interface: u32) -> Self {
        let mut bench = Self {
            program: Program::load(&object()).unwrap(),
            view: View::new(settings).unwrap(),
            interface,
        };
        bench.decide_by(&listeners(), interface);
        bench
    }

    /// Gives the program the view, for these listeners, and an interface to send by.
    fn decide_by(&mut self, listeners: &[SocketAddr], interface: u32) {
        let given = self.program.set_view(&self.view, listeners, &[interface]);
        given.unwrap();
    }

    fn run(&self, octets: &[u8]) -> TestRun {
        self.program.test_run(octets, self.interface, 1).unwrap()
    }
}

/// A packet of a connection that the server of this name has, as it comes to a listener.
fn for_server(id: &ServerId, at: SocketAddr) -> Frame {
    let from = if at.is_ipv4() {
        "192.0.2.7:5000"
    } else {
        "[2001:db8::7]:5000"
    };
    let cid = configs()[0].encode(id, &[9; 8], &[0; 20]).unwrap();
    let payload = [&[0x40][..], &cid, &[0xaa; 40]].concat();
    Frame {
        from: address(from),
        at,
        ecn: 0,
        payload,
    }
}

#[test]
fn it_decides_as_userspace_does() {
    in_own_network("xdp::comparison::thousands_of_packets");
}

#[test]
fn it_leaves_the_rest_to_userspace() {
    in_own_network("xdp::strange_frames::strange_frames");
}

#[test]
fn views_are_replaced_while_counters_go_on() {
    in_own_network("xdp::views::replaced_views");
}

#[test]
fn what_is_no_program_of_this_version_is_refused() {
    for garbage in [&b""[..], b"\x7fELF", &[0; 4096]] {
        assert!(matches!(Program::load(garbage), Err(XdpError::NoProgram)));
    }
}
