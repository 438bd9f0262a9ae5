//! Several processes on one UDP port: which of them a connection ID leads to, in Rust and as a filter for the kernel.
//!
//! Owns the function and the classic BPF program that computes the same. It needs no privileges. Must not know how
//! processes are started.
//!
//! The sockets of one port form a group (SO_REUSEPORT), in the order in which they were bound, and the filter says which
//! of them gets a datagram. Our own connection IDs are as good as random in their last 4 octets, so a keyed mix of these
//! names the process; a server draws connection IDs until one names itself. Whoever lacks the key sees nothing in it.
//!
//! | header | condition | goes to |
//! |---|---|---|
//! | short | any | the process that the connection ID names |
//! | long | the ID is as long as ours, and its first octet says so | the same |
//! | long | else: an ID that a client made up | a hash of the addresses, as without a filter |
//!
//! The group must keep its members: when a socket closes, others move up. So the sockets belong to a parent process.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::error::EngineError;

/// More processes than this make no sense on one port.
pub const MAX_WORKERS: u32 = 256;

/// Which process this is, of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steering {
    worker: u32,
    workers: u32,
    key: [u32; 2],
}

impl Steering {
    /// Worker number `worker` of `workers`; all of them share the key, which is secret and random.
    pub fn new(worker: u32, workers: u32, key: [u8; 8]) -> Result<Self, EngineError> {
        if worker >= workers || workers > MAX_WORKERS {
            return Err(EngineError::settings(format!(
                "worker {worker} of {workers}: there are 1 to {MAX_WORKERS}, counted from 0"
            )));
        }
        let [a, b, c, d, e, f, g, h] = key;
        Ok(Self {
            worker,
            workers,
            // An odd factor loses no bit.
            key: [
                u32::from_be_bytes([a, b, c, d]),
                u32::from_be_bytes([e, f, g, h]) | 1,
            ],
        })
    }

    /// Whether a connection ID leads to this process.
    pub fn is_ours(&self, cid: &[u8]) -> bool {
        self.worker_of(cid) == Some(self.worker)
    }

    /// Which process a connection ID leads to; nothing if it is too short.
    pub fn worker_of(&self, cid: &[u8]) -> Option<u32> {
        let word = u32::from_be_bytes(*cid.last_chunk()?);
        let mixed = (word ^ self.key[0]).wrapping_mul(self.key[1]);
        Some((mixed >> 16) % self.workers)
    }

    /// Let this filter lead the datagrams of a socket's group; our connection IDs have `cid_len` octets.
    pub fn attach(&self, socket: BorrowedFd<'_>, cid_len: usize) -> io::Result<()> {
        let program = self.program(cid_len);
        let filters: Vec<libc::sock_filter> = program
            .iter()
            .map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k })
            .collect();
        let program = libc::sock_fprog {
            len: filters.len() as u16,
            filter: filters.as_ptr().cast_mut(),
        };
        // SAFETY: the option takes a `sock_fprog`, whose filters live through the call and are only read.
        #[allow(unsafe_code)]
        let outcome = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_REUSEPORT_CBPF,
                (&raw const program).cast(),
                size_of::<libc::sock_fprog>() as libc::socklen_t,
            )
        };
        if outcome == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// The filter: (code, jump if true, jump if false, operand) for each instruction. The kernel lets it begin behind the
    /// UDP header. A read behind the end of a datagram ends it with 0, which is a process like any other.
    fn program(&self, cid_len: usize) -> Vec<Instruction> {
        let cid_len = cid_len as u32;
        let long = self.leads(LONG_ID + cid_len);
        let short = self.leads(SHORT_ID + cid_len);
        let mut program = vec![
            (LOAD_BYTE, 0, 0, 0),
            (JUMP_IF_BITS, short.len() as u8, 0, LONG_HEADER),
        ];
        program.extend(short);
        program.extend([
            (LOAD_BYTE, 0, 0, LONG_ID - 1),
            (JUMP_IF_EQUAL, 0, long.len() as u8, cid_len),
        ]);
        program.extend(long);
        program.push((RETURN, 0, 0, HASH));
        program
    }

    /// Return the process that the connection ID ending at `end` leads to.
    fn leads(&self, end: u32) -> [Instruction; 6] {
        [
            (LOAD_WORD, 0, 0, end - 4),
            (XOR, 0, 0, self.key[0]),
            (MULTIPLY, 0, 0, self.key[1]),
            (SHIFT_RIGHT, 0, 0, 16),
            (MODULO, 0, 0, self.workers),
            (RETURN_RESULT, 0, 0, 0),
        ]
    }
}

type Instruction = (u16, u8, u8, u32);

/// Bit of the first octet that long headers have (RFC 8999 §5.1).
const LONG_HEADER: u32 = 0x80;
/// Where connection IDs begin: behind the first octet, or behind first octet, version and length.
const SHORT_ID: u32 = 1;
const LONG_ID: u32 = 6;
/// No process has this number, so the kernel hashes.
const HASH: u32 = u32::MAX;

const LOAD_BYTE: u16 = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_IF_BITS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const XOR: u16 = (libc::BPF_ALU | libc::BPF_XOR | libc::BPF_K) as u16;
const MULTIPLY: u16 = (libc::BPF_ALU | libc::BPF_MUL | libc::BPF_K) as u16;
const SHIFT_RIGHT: u16 = (libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K) as u16;
const MODULO: u16 = (libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
/// The accumulator is returned: BPF_A of the kernel's headers.
const RETURN_RESULT: u16 = libc::BPF_RET as u16 | 0x10;

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;
    use std::time::Duration;

    use socket2::{Domain, Socket, Type};

    use super::*;

    const CID_LEN: usize = 17;

    fn steering(worker: u32, workers: u32) -> Steering {
        Steering::new(worker, workers, *b"steering").unwrap()
    }

    fn group(size: usize) -> Vec<UdpSocket> {
        let mut sockets: Vec<UdpSocket> = Vec::new();
        for _ in 0..size {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
            socket.set_reuse_port(true).unwrap();
            let port = sockets
                .first()
                .map_or(0, |first| first.local_addr().unwrap().port());
            let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
            socket.bind(&address.into()).unwrap();
            let socket = UdpSocket::from(socket);
            socket
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            sockets.push(socket);
        }
        sockets
    }

    fn cid(number: u32) -> [u8; CID_LEN] {
        let mut cid = [7; CID_LEN];
        cid[CID_LEN - 4..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
        cid
    }

    #[test]
    fn the_kernel_leads_where_the_function_does_from_any_port() {
        let sockets = group(4);
        steering(0, 4).attach(sockets[0].as_fd(), CID_LEN).unwrap();
        let address = sockets[0].local_addr().unwrap();
        for number in 0..200 {
            let cid = cid(number);
            let worker = steering(0, 4).worker_of(&cid).unwrap();
            let long = [&[0xc0, 0, 0, 0, 1, CID_LEN as u8][..], &cid, &[0; 9]].concat();
            let short = [&[0x40][..], &cid, &[0; 9]].concat();
            for datagram in [long, short] {
                let client = UdpSocket::bind("127.0.0.1:0").unwrap();
                client.send_to(&datagram, address).unwrap();
                let mut buffer = [0; 100];
                let (length, _) = sockets[worker as usize].recv_from(&mut buffer).unwrap();
                assert_eq!(buffer[..length], datagram);
            }
        }
    }

    #[test]
    fn ids_that_clients_made_up_are_hashed_by_address() {
        let sockets = group(4);
        steering(0, 4).attach(sockets[0].as_fd(), CID_LEN).unwrap();
        for socket in &sockets {
            socket.set_nonblocking(true).unwrap();
        }
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..20 {
            let initial = [&[0xc0, 0, 0, 0, 1, 8][..], &cid(number), &[0; 9]].concat();
            client
                .send_to(&initial, sockets[0].local_addr().unwrap())
                .unwrap();
        }
        let counts = sockets.iter().map(|socket| {
            let mut buffer = [0; 100];
            std::iter::from_fn(|| socket.recv_from(&mut buffer).ok()).count()
        });
        let counts: Vec<usize> = counts.collect();
        assert_eq!(counts.iter().max(), Some(&20), "{counts:?}");
    }

    #[test]
    fn every_process_gets_its_share() {
        let steering = steering(0, 5);
        let mut counts = [0; 5];
        for number in 0..5000 {
            counts[steering.worker_of(&cid(number)).unwrap() as usize] += 1;
        }
        assert!(
            counts.iter().all(|count| (800..1200).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn numbers_that_make_no_sense_are_told() {
        for (worker, workers) in [(4, 4), (0, 0), (0, 257)] {
            assert!(Steering::new(worker, workers, [0; 8]).is_err());
        }
        assert_eq!(steering(0, 1).worker_of(&[1, 2, 3]), None);
    }
}
