//! What a thread sends: letters, with sendmmsg.
//!
//! Owns the call and the structures that it reads. Must not know why letters go where they go.
#![allow(unsafe_code)] // sendmmsg, and pointers from one of its structures to another

use std::io;
use std::mem::{size_of, zeroed};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use super::address::{name, Name};
use super::control::{write_control, Control};
use super::outbox::{Letter, Piece};
use super::socket::Socket;

/// Most messages that one sendmmsg takes.
const MOST_LETTERS: usize = 1024;

/// Structures for one sendmmsg, kept for the next. It stays on the thread that made it.
pub(crate) struct Mailbag {
    names: Vec<Name>,
    control: Vec<Control>,
    vectors: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

impl Mailbag {
    pub(crate) fn new() -> Self {
        Self {
            names: Vec::with_capacity(MOST_LETTERS),
            control: Vec::with_capacity(MOST_LETTERS),
            vectors: Vec::new(),
            messages: Vec::with_capacity(MOST_LETTERS),
        }
    }

    /// Sends letters in their order. What the system refuses is told with its error, and the others are sent nonetheless.
    pub(crate) fn send(
        &mut self,
        socket: &Socket,
        letters: &[Letter],
        pieces: &[Piece],
        octets: &[u8],
        mut refused: impl FnMut(usize, io::Error),
    ) {
        for (chunk, letters) in letters.chunks(MOST_LETTERS).enumerate() {
            self.pack(letters, pieces, octets);
            let mut at = 0;
            while at < letters.len() {
                // SAFETY: `pack` has made every message point to its own name, control buffer and vectors, and these to
                // `pieces` and `octets`; all of them live through the call and are only read.
                let sent = unsafe {
                    libc::sendmmsg(
                        socket.as_fd().as_raw_fd(),
                        self.messages[at..].as_mut_ptr(),
                        (letters.len() - at) as u32,
                        libc::MSG_DONTWAIT,
                    )
                };
                if let Ok(sent @ 1..) = usize::try_from(sent) {
                    at += sent;
                    continue;
                }
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    refused(chunk * MOST_LETTERS + at, error);
                    at += 1;
                }
            }
        }
    }

    /// Fills the structures. All vectors are grown before the first pointer is taken.
    fn pack(&mut self, letters: &[Letter], pieces: &[Piece], octets: &[u8]) {
        self.vectors.clear();
        for letter in letters {
            let mut next = Some(letter.first);
            while let Some(at) = next {
                let piece = &pieces[at as usize];
                if let Some(header) = &piece.header {
                    self.vectors.push(vector(header));
                }
                self.vectors.push(vector(&octets[piece.payload.clone()]));
                next = piece.next;
            }
        }
        self.names.clear();
        self.names
            .extend(letters.iter().map(|letter| name(letter.to)));
        self.control.resize(letters.len(), Control::EMPTY);
        self.messages.clear();
        let mut vectors = self.vectors.as_mut_ptr();
        for (at, letter) in letters.iter().enumerate() {
            // SAFETY: all zeros is a value of this plain structure.
            let mut message: libc::mmsghdr = unsafe { zeroed() };
            let header = &mut message.msg_hdr;
            header.msg_name = (&raw mut self.names[at]).cast();
            header.msg_namelen = match letter.to {
                SocketAddr::V4(_) => size_of::<libc::sockaddr_in>() as libc::socklen_t,
                SocketAddr::V6(_) => size_of::<libc::sockaddr_in6>() as libc::socklen_t,
            };
            header.msg_iov = vectors;
            header.msg_iovlen = letter.vectors() as _;
            // SAFETY: the letters' vectors lie one behind the other, so this is at most the end of them.
            vectors = unsafe { vectors.add(letter.vectors()) };
            write_control(letter, &mut self.control[at], header);
            self.messages.push(message);
        }
    }
}

fn vector(octets: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: octets.as_ptr().cast_mut().cast(),
        iov_len: octets.len(),
    }
}
