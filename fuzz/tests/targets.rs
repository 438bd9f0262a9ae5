//! Every target as a test. Without a fuzzing engine each gets random input for `LEGATO_FUZZ_MS` milliseconds
//! (default 1000); under an engine it gets what the engine makes up.

use std::time::Duration;

use legato_fuzz::calls::{self, Step};
use legato_fuzz::forwarder;
use legato_fuzz::fragments::Fragment;
use legato_fuzz::quic_lb;
use legato_fuzz::streams::{self, Setting};
use legato_webtransport::Role;

fn time() -> Duration {
    let set = std::env::var("LEGATO_FUZZ_MS").ok();
    Duration::from_millis(set.and_then(|text| text.parse().ok()).unwrap_or(1000))
}

macro_rules! target {
    ($name:ident, $input:ty, $body:expr) => {
        #[test]
        fn $name() {
            bolero::check!()
                .with_test_time(time())
                .with_type::<$input>()
                .for_each($body);
        }
    };
}

target!(header_blocks, (Vec<Fragment>, u16), |(input, limit)| {
    streams::header_block(input, *limit);
});
target!(settings, Vec<Fragment>, |input| streams::settings(input));
target!(capsules, (Vec<Fragment>, u8), |(input, size)| {
    streams::capsules(input, *size)
});
target!(chunking, (Setting, u8, Vec<Fragment>, u8, bool), |(
    setting,
    stream,
    input,
    size,
    fin,
)| {
    streams::chunking(*setting, *stream, input, *size, *fin);
});
target!(calls_of_a_server, Vec<Step>, |steps| calls::run(
    Role::Server,
    steps
));
target!(calls_of_a_client, Vec<Step>, |steps| calls::run(
    Role::Client,
    steps
));
target!(quic_lb_decode, (Vec<quic_lb::Setting>, Vec<u8>), |(
    settings,
    octets,
)| {
    quic_lb::decode(settings, octets)
});
target!(quic_lb_rotations, (u8, Vec<quic_lb::Step>), |(
    cid_len,
    steps,
)| {
    quic_lb::rotations(*cid_len, steps)
});
target!(
    forwarder_judge,
    (forwarder::Fleet, forwarder::Datagram, forwarder::From, u64),
    |(fleet, datagram, from, now)| forwarder::judge(fleet, datagram, from, *now)
);
target!(
    forwarder_tunnel,
    (forwarder::Datagram, forwarder::From),
    |(datagram, from)| forwarder::tunnel(datagram, from)
);
