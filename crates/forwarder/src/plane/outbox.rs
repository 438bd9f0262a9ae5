//! What one batch sends: packets that go the same way and have the same size are put together, so that the system cuts
//! them up again and is called once (UDP_SEGMENT).
//!
//! Owns the grouping. Must not know why packets go where they go.
//!
//! # Theory of operation
//!
//! A *letter* is one message to one address; a *piece* is one packet in it. To a server, packets of different clients share a
//! letter, because their datagrams have the same addresses. A letter's pieces all have the size of the first one, but the last
//! may be shorter, which closes the letter. Only the newest letter to a server is added to, so packets of one client
//! keep their order. To clients, packets share a letter if they follow each other. Payloads stay in the inbox; pieces
//! say where.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use crate::Header;

/// Datagrams in one letter: what every kernel that can do it takes.
const MOST_PIECES: u32 = 64;
/// Octets in one letter; IP knows no more than 65535, with its headers.
const MOST_OCTETS: usize = 65_000;

/// One packet.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) header: Option<Header>,
    /// Where it is in the inbox.
    pub(crate) payload: Range<usize>,
    /// The next one in the same letter.
    pub(crate) next: Option<u32>,
}

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) to: SocketAddr,
    /// The local address that it has to leave from.
    pub(crate) source: Option<IpAddr>,
    pub(crate) ecn: u8,
    /// Octets of each datagram but the last.
    pub(crate) segment: usize,
    pub(crate) first: u32,
    pub(crate) count: u32,
    last: u32,
    octets: usize,
    with_headers: bool,
}

impl Letter {
    /// Entries that its octets need in the list for the kernel.
    pub(crate) fn vectors(&self) -> usize {
        self.count as usize * if self.with_headers { 2 } else { 1 }
    }
}

/// How a packet leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) to: SocketAddr,
    pub(crate) source: Option<IpAddr>,
    pub(crate) ecn: u8,
    /// For a server of the list: its number. Letters to it stay open while others are written.
    pub(crate) backend: Option<u16>,
}

/// The letters of one socket in one batch.
#[derive(Debug)]
pub(crate) struct Outbox {
    letters: Vec<Letter>,
    pieces: Vec<Piece>,
    /// For each backend its newest letter in this batch, if that is one: numbers of earlier batches lead nowhere.
    newest: Vec<u32>,
    may_join: bool,
}

impl Outbox {
    pub(crate) fn new(may_join: bool) -> Self {
        Self {
            letters: Vec::new(),
            pieces: Vec::new(),
            newest: Vec::new(),
            may_join,
        }
    }

    /// Puts no packets together any more.
    pub(crate) fn stop_joining(&mut self) {
        self.may_join = false;
    }

    pub(crate) fn letters(&self) -> &[Letter] {
        &self.letters
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    pub(crate) fn clear(&mut self) {
        self.letters.clear();
        self.pieces.clear();
    }

    /// Adds a packet.
    pub(crate) fn add(&mut self, way: Way, header: Option<Header>, payload: Range<usize>) {
        let size = payload.len() + header.as_ref().map_or(0, |header| header.len());
        let with_headers = header.is_some();
        let piece = self.pieces.len() as u32;
        self.pieces.push(Piece {
            header,
            payload,
            next: None,
        });
        let newest = self.newest(way.backend);
        if let Some(letter) = newest.and_then(|at| self.letters.get_mut(at)) {
            if self.may_join && letter.takes(&way, with_headers, size) {
                self.pieces[letter.last as usize].next = Some(piece);
                letter.last = piece;
                letter.count += 1;
                letter.octets += size;
                return;
            }
        }
        if let Some(backend) = way.backend {
            self.newest[usize::from(backend)] = self.letters.len() as u32;
        }
        self.letters.push(Letter {
            to: way.to,
            source: way.source,
            ecn: way.ecn,
            segment: size,
            first: piece,
            count: 1,
            last: piece,
            octets: size,
            with_headers,
        });
    }

    fn newest(&mut self, backend: Option<u16>) -> Option<usize> {
        match backend.map(usize::from) {
            Some(backend) => {
                if backend >= self.newest.len() {
                    self.newest.resize(backend + 1, u32::MAX);
                }
                Some(self.newest[backend] as usize)
            }
            None => self.letters.len().checked_sub(1),
        }
    }

    /// The letter as one letter for each piece.
    pub(crate) fn split(letter: &Letter, pieces: &[Piece]) -> (Vec<Letter>, Vec<Piece>) {
        let mut singles = Vec::new();
        let mut alone = Vec::new();
        let mut next = Some(letter.first);
        while let Some(at) = next {
            let piece = &pieces[at as usize];
            let number = alone.len() as u32;
            singles.push(Letter {
                first: number,
                last: number,
                count: 1,
                ..letter.clone()
            });
            alone.push(Piece {
                header: piece.header,
                payload: piece.payload.clone(),
                next: None,
            });
            next = piece.next;
        }
        (singles, alone)
    }
}

impl Letter {
    fn takes(&self, way: &Way, with_headers: bool, size: usize) -> bool {
        let is_open = self.octets == self.segment * self.count as usize;
        is_open
            && size <= self.segment
            && self.count < MOST_PIECES
            && self.octets + size <= MOST_OCTETS
            && self.with_headers == with_headers
            && self.to == way.to
            && self.source == way.source
            && self.ecn == way.ecn
    }
}
