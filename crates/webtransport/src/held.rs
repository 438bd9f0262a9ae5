//! Streams that arrived before their session: kept within bounds until it comes (draft-ietf-webtrans-http3-15 §4.6).

use bytes::{Bytes, BytesMut};

/// A stream that waits.
#[derive(Debug)]
pub(crate) struct HeldStream {
    pub(crate) session: u64,
    pub(crate) stream: u64,
    /// Copied, so that a small payload does not keep a whole receive buffer alive.
    payload: BytesMut,
    pub(crate) fin: bool,
}

impl HeldStream {
    pub(crate) fn into_payload(self) -> Bytes {
        self.payload.freeze()
    }
}

/// All streams that wait, in order of arrival.
#[derive(Debug)]
pub(crate) struct Waiting {
    streams: Vec<HeldStream>,
    bytes: usize,
    max_streams: usize,
    max_bytes: usize,
}

impl Waiting {
    pub(crate) fn new(max_streams: usize, max_bytes: usize) -> Self {
        Self {
            streams: Vec::new(),
            bytes: 0,
            max_streams,
            max_bytes,
        }
    }

    /// Keeps a stream or more of one; false if there is no room, and then nothing of the stream is kept.
    pub(crate) fn hold(&mut self, session: u64, stream: u64, chunk: &[u8], fin: bool) -> bool {
        let known = self.streams.iter().position(|held| held.stream == stream);
        let fits = self.bytes + chunk.len() <= self.max_bytes;
        let Some(at) = known else {
            if !fits || self.streams.len() >= self.max_streams {
                return false;
            }
            self.bytes += chunk.len();
            self.streams.push(HeldStream {
                session,
                stream,
                payload: chunk.into(),
                fin,
            });
            return true;
        };
        if !fits {
            self.forget(stream);
            return false;
        }
        self.bytes += chunk.len();
        self.streams[at].payload.extend_from_slice(chunk);
        self.streams[at].fin |= fin;
        true
    }

    /// Drops a stream that the peer has given up.
    pub(crate) fn forget(&mut self, stream: u64) {
        self.take_where(|held| held.stream == stream);
    }

    /// Takes the streams of a session out.
    pub(crate) fn release(&mut self, session: u64) -> Vec<HeldStream> {
        self.take_where(|held| held.session == session)
    }

    fn take_where(&mut self, wanted: impl Fn(&HeldStream) -> bool) -> Vec<HeldStream> {
        let all = std::mem::take(&mut self.streams);
        let (taken, kept): (Vec<_>, _) = all.into_iter().partition(wanted);
        self.streams = kept;
        self.bytes -= taken.iter().map(|held| held.payload.len()).sum::<usize>();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_in_order_of_arrival() {
        let mut waiting = Waiting::new(8, 100);
        assert!(waiting.hold(0, 2, b"a", false));
        assert!(waiting.hold(4, 6, b"b", false));
        assert!(waiting.hold(0, 8, b"c", true));
        assert!(waiting.hold(0, 2, b"d", true));
        let released = waiting.release(0);
        let seen: Vec<_> = released
            .into_iter()
            .map(|held| (held.stream, held.fin, held.into_payload()))
            .collect();
        assert_eq!(
            seen,
            [(2, true, Bytes::from("ad")), (8, true, Bytes::from("c"))]
        );
        assert_eq!(waiting.release(0).len(), 0);
        assert_eq!(waiting.bytes, 1);
    }

    #[test]
    fn bounds_on_streams_and_bytes() {
        let mut waiting = Waiting::new(2, 4);
        assert!(waiting.hold(0, 2, b"123", false));
        assert!(!waiting.hold(0, 6, b"45", false));
        assert!(waiting.hold(0, 6, b"4", false));
        assert!(!waiting.hold(0, 10, b"", false));
        assert!(
            !waiting.hold(0, 2, b"5", false),
            "more of a stream that is there"
        );
        assert_eq!((waiting.bytes, waiting.streams.len()), (1, 1));
        waiting.forget(6);
        assert_eq!((waiting.bytes, waiting.streams.len()), (0, 0));
        assert!(waiting.hold(0, 10, b"1234", false));
    }
}
