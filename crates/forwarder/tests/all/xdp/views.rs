//! Views that follow each other, and the counters that go on.

use std::net::SocketAddr;

use legato_forwarder::{Backend, State, View, ViewSettings};
use legato_quic_lb::ServerId;

use super::{for_server, Bench};
use crate::frames::{frame, read_frame, TX};
use crate::kernel::network;
use crate::traffic::{address, configs, listeners, name, settings, GRACE, STATES};

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
        let run = bench.run(&frame(&for_server(id, listeners[0])));
        (run.verdict == TX).then(|| read_frame(&run.frame).at)
    };
    let counted = |bench: &Bench, address: &str| {
        let counts = bench.program.counts().unwrap().backends;
        let mine = counts
            .iter()
            .find(|(each, _)| *each == crate::traffic::address(address));
        mine.map(|(_, traffic)| traffic.requests)
    };
    let show = |bench: &mut Bench, settings: ViewSettings, listeners: &[SocketAddr], interface| {
        bench.view = View::new(settings).unwrap();
        bench.decide_by(listeners, interface);
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
