//! SETTINGS as one table (RFC 9114 §7.2.4): what each side sends, what it must find in the peer's.
//!
//! Chromium 156 and Firefox 153 speak draft-02 of WebTransport over HTTP/3 (0x2b603742); Safari 26.4 wants 0xc671706a from
//! draft-07. 0x14e9cd29 and 0x2c7cf000 of later drafts are left out on purpose: they promise session flow control, and Safari
//! refuses a server that sends the former without it.

use bytes::Bytes;

use crate::error::{Fault, H3_FRAME_ERROR, H3_SETTINGS_ERROR};
use crate::record;
use crate::varint;
use crate::Role;

/// Frame type of SETTINGS.
pub(crate) const FRAME: u64 = 0x04;

const QPACK_MAX_TABLE_CAPACITY: u64 = 0x01;
const QPACK_BLOCKED_STREAMS: u64 = 0x07;
const ENABLE_CONNECT_PROTOCOL: u64 = 0x08;
const H3_DATAGRAM: u64 = 0x33;
const H3_DATAGRAM_DRAFT04: u64 = 0x00ff_d277;
const ENABLE_WEBTRANSPORT: u64 = 0x2b60_3742;
const WEBTRANSPORT_MAX_SESSIONS_DRAFT02: u64 = 0x2b60_3743;
const WEBTRANSPORT_MAX_SESSIONS_DRAFT07: u64 = 0xc671_706a;
const WT_MAX_SESSIONS_DRAFT13: u64 = 0x14e9_cd29;
const WT_ENABLED_DRAFT15: u64 = 0x2c7c_f000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Fixed(u64),
    /// As many sessions as the configuration allows.
    Sessions,
}

/// One setting: who sends what, and whether only 0 and 1 are legal.
struct Row {
    id: u64,
    server: Option<Value>,
    client: Option<Value>,
    flag: bool,
}

const fn row(id: u64, server: Option<Value>, client: Option<Value>, flag: bool) -> Row {
    Row {
        id,
        server,
        client,
        flag,
    }
}

const ON: Option<Value> = Some(Value::Fixed(1));
const OFF: Option<Value> = Some(Value::Fixed(0));
const SESSIONS: Option<Value> = Some(Value::Sessions);

#[rustfmt::skip]
const TABLE: [Row; 8] = [
    row(QPACK_MAX_TABLE_CAPACITY,          OFF,      OFF,  false),
    row(QPACK_BLOCKED_STREAMS,             OFF,      OFF,  false),
    row(ENABLE_CONNECT_PROTOCOL,           ON,       None, true),
    row(H3_DATAGRAM,                       ON,       ON,   true),
    row(H3_DATAGRAM_DRAFT04,               ON,       ON,   false),
    row(ENABLE_WEBTRANSPORT,               ON,       ON,   false),
    row(WEBTRANSPORT_MAX_SESSIONS_DRAFT02, SESSIONS, None, false),
    row(WEBTRANSPORT_MAX_SESSIONS_DRAFT07, SESSIONS, ON,   false),
];

/// Settings of which one must be present and not zero, and how to name the lack of all.
type Requirement = (&'static [u64], &'static str);

const DATAGRAMS: Requirement = (
    &[H3_DATAGRAM, H3_DATAGRAM_DRAFT04],
    "the peer's SETTINGS do not allow HTTP datagrams",
);

/// A client's CONNECT says by itself that it speaks WebTransport.
const REQUIRED_OF_CLIENT: &[Requirement] = &[DATAGRAMS];

const REQUIRED_OF_SERVER: &[Requirement] = &[
    (
        &[ENABLE_CONNECT_PROTOCOL],
        "the server's SETTINGS do not allow extended CONNECT",
    ),
    DATAGRAMS,
    (
        &[
            ENABLE_WEBTRANSPORT,
            WEBTRANSPORT_MAX_SESSIONS_DRAFT07,
            WT_MAX_SESSIONS_DRAFT13,
            WT_ENABLED_DRAFT15,
        ],
        "the server's SETTINGS do not offer WebTransport",
    ),
];

/// Appends the SETTINGS frame of `role`.
pub(crate) fn encode(role: Role, max_sessions: u64, out: &mut Vec<u8>) {
    let mut payload = Vec::new();
    for row in &TABLE {
        let value = match role {
            Role::Server => row.server,
            Role::Client => row.client,
        };
        let value = match value {
            Some(Value::Fixed(value)) => value,
            Some(Value::Sessions) => max_sessions.min(varint::MAX),
            None => continue,
        };
        varint::encode(row.id, &mut payload);
        varint::encode(value, &mut payload);
    }
    record::encode(FRAME, &payload, out);
}

/// The settings a peer sent.
#[derive(Debug, Clone)]
pub(crate) struct PeerSettings {
    /// Ordered by id, no id twice.
    pairs: Vec<(u64, u64)>,
}

impl PeerSettings {
    /// Reads the payload of a SETTINGS frame.
    pub(crate) fn decode(mut payload: Bytes) -> Result<Self, Fault> {
        let mut pairs = Vec::new();
        while !payload.is_empty() {
            let pair = varint::take(&mut payload).zip(varint::take(&mut payload));
            pairs.push(pair.ok_or(Fault::connection(H3_FRAME_ERROR, "SETTINGS cut short"))?);
        }
        pairs.sort_unstable();
        if pairs.windows(2).any(|two| two[0].0 == two[1].0) {
            return Err(Fault::connection(
                H3_SETTINGS_ERROR,
                "a setting is repeated",
            ));
        }
        for &(id, value) in &pairs {
            // RFC 9114 §7.2.4.1: ids that HTTP/2 used for something else.
            if matches!(id, 0x00 | 0x02..=0x05) {
                return Err(Fault::connection(H3_SETTINGS_ERROR, "a setting of HTTP/2"));
            }
            if value > 1 && TABLE.iter().any(|row| row.id == id && row.flag) {
                return Err(Fault::connection(
                    H3_SETTINGS_ERROR,
                    "a flag is neither 0 nor 1",
                ));
            }
        }
        Ok(Self { pairs })
    }

    fn is_on(&self, id: u64) -> bool {
        let found = self.pairs.binary_search_by_key(&id, |pair| pair.0);
        found.is_ok_and(|at| self.pairs[at].1 != 0)
    }

    /// What a peer of this side lacks for WebTransport; None if nothing. `role` is the side that asks.
    pub(crate) fn lacks(&self, role: Role) -> Option<&'static str> {
        let required = match role {
            Role::Server => REQUIRED_OF_CLIENT,
            Role::Client => REQUIRED_OF_SERVER,
        };
        let unmet = required
            .iter()
            .find(|(ids, _)| !ids.iter().any(|&id| self.is_on(id)));
        unmet.map(|(_, lack)| *lack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(pairs: &[(u64, u64)]) -> Bytes {
        let mut out = Vec::new();
        for &(id, value) in pairs {
            varint::encode(id, &mut out);
            varint::encode(value, &mut out);
        }
        out.into()
    }

    fn code(payload: Bytes) -> u64 {
        match PeerSettings::decode(payload) {
            Err(Fault::Connection { code, .. }) => code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_server_sends_these_bytes() {
        let mut out = Vec::new();
        encode(Role::Server, 1, &mut out);
        let expected = [
            0x04, 0x25, // SETTINGS, 37 bytes
            0x01, 0x00, // QPACK_MAX_TABLE_CAPACITY
            0x07, 0x00, // QPACK_BLOCKED_STREAMS
            0x08, 0x01, // ENABLE_CONNECT_PROTOCOL
            0x33, 0x01, // H3_DATAGRAM
            0x80, 0xff, 0xd2, 0x77, 0x01, // H3_DATAGRAM of draft-04
            0xab, 0x60, 0x37, 0x42, 0x01, // ENABLE_WEBTRANSPORT
            0xab, 0x60, 0x37, 0x43, 0x01, // WEBTRANSPORT_MAX_SESSIONS of draft-02
            0xc0, 0x00, 0x00, 0x00, 0xc6, 0x71, 0x70, 0x6a, 0x01, // ... of draft-07
        ];
        let length = expected.len() - 2;
        assert_eq!(out[2..], expected[2..]);
        assert_eq!(out[..2], [0x04, length as u8]);
    }

    #[test]
    fn a_client_leaves_out_what_only_servers_send() {
        let mut out = Vec::new();
        encode(Role::Client, 1, &mut out);
        let settings = PeerSettings::decode(Bytes::from(out).slice(2..)).unwrap();
        let ids: Vec<u64> = settings.pairs.iter().map(|pair| pair.0).collect();
        assert_eq!(ids, [0x01, 0x07, 0x33, 0xffd277, 0x2b603742, 0xc671706a]);
    }

    #[test]
    fn today_s_browsers_are_acceptable_clients() {
        let chromium = wire(&[
            (0x01, 65536),
            (0x06, 16384),
            (0x07, 100),
            (0x33, 1),
            (0xffd277, 1),
            (0x2b603742, 1),
            (0x1f * 7 + 0x21, 12345),
        ]);
        let firefox = wire(&[
            (1, 65536),
            (7, 20),
            (0x2b603742, 1),
            (0xffd277, 1),
            (0x33, 1),
            (8, 1),
        ]);
        for payload in [chromium, firefox] {
            assert_eq!(
                PeerSettings::decode(payload).unwrap().lacks(Role::Server),
                None
            );
        }
    }

    #[test]
    fn which_servers_are_acceptable() {
        let lacks = |pairs: &[(u64, u64)]| {
            PeerSettings::decode(wire(pairs))
                .unwrap()
                .lacks(Role::Client)
                .unwrap_or("nothing")
        };
        assert_eq!(lacks(&[(8, 1), (0x33, 1), (0x2b603742, 1)]), "nothing");
        assert_eq!(lacks(&[(8, 1), (0x33, 1), (0xc671706a, 16)]), "nothing");
        assert_eq!(lacks(&[(8, 1), (0xffd277, 1), (0x14e9cd29, 1)]), "nothing");
        assert!(lacks(&[(8, 0), (0x33, 1), (0x2b603742, 1)]).contains("CONNECT"));
        assert!(lacks(&[(8, 1), (0x33, 0), (0x2b603742, 1)]).contains("datagrams"));
        assert!(lacks(&[(8, 1), (0x33, 1), (0xc671706a, 0)]).contains("WebTransport"));
        assert!(lacks(&[]).contains("CONNECT"));
    }

    #[test]
    fn our_own_settings_satisfy_each_other() {
        for (sender, reader) in [(Role::Server, Role::Client), (Role::Client, Role::Server)] {
            let mut out = Vec::new();
            encode(sender, 1, &mut out);
            let settings = PeerSettings::decode(Bytes::from(out).slice(2..)).unwrap();
            assert_eq!(settings.lacks(reader), None);
        }
    }

    #[test]
    fn bad_settings() {
        assert_eq!(code(wire(&[(0x33, 1), (0x33, 1)])), H3_SETTINGS_ERROR);
        assert_eq!(
            code(wire(&[(0x1f * 3 + 0x21, 1), (0x1f * 3 + 0x21, 2)])),
            H3_SETTINGS_ERROR
        );
        for id in [0x00, 0x02, 0x03, 0x04, 0x05] {
            assert_eq!(code(wire(&[(id, 0)])), H3_SETTINGS_ERROR);
        }
        assert_eq!(code(wire(&[(0x08, 2)])), H3_SETTINGS_ERROR);
        assert_eq!(code(wire(&[(0x33, 2)])), H3_SETTINGS_ERROR);
        assert_eq!(code(Bytes::from_static(&[0x33])), H3_FRAME_ERROR);
        assert_eq!(code(Bytes::from_static(&[0x33, 0x40])), H3_FRAME_ERROR);
    }
}
