//! Load for measurements: frames that the kernel makes by the million, and an end for them.
//!
//! Owns two programs that are written here, instruction by instruction. Must not know what is measured.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::kernel::{self, Instruction, Mode};
use super::program::Program;

/// Octets that are written anew for each frame, as whoever had it before has overwritten them.
const HEADERS: usize = 64;
const PRANDOM: i32 = 7;
const PORT_OF_UDP: i16 = 34;

/// Short for one instruction: code, destination and source register, offset, immediate.
fn instruction(code: u8, (to, from): (u8, u8), offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: from << 4 | to,
        offset,
        immediate,
    }
}

/// Frames that leave by an interface.
pub struct Sender {
    program: OwnedFd,
    frame: Vec<u8>,
}

impl Sender {
    /// Sends copies of this frame, which has 64 octets at least. With `varies` each has a source port of its own, UDP over
    /// IPv4 without options being assumed, and its checksum is wrong.
    pub fn new(frame: &[u8], varies: bool) -> io::Result<Self> {
        let headers = frame.get(..HEADERS).ok_or(io::ErrorKind::InvalidInput)?;
        let words = headers.chunks_exact(4).zip((0i16..).step_by(4));
        let mut writing: Vec<Instruction> = words
            .map(|(word, at)| {
                let word = i32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
                instruction(0x62, (2, 0), at, word)
            })
            .collect();
        if varies {
            // Never port 0, whatever the order of octets.
            writing.extend([
                instruction(0x57, (7, 0), 0, 0x7fff),
                instruction(0x47, (7, 0), 0, 0x4040),
                instruction(0x6b, (2, 7), PORT_OF_UDP, 0),
            ]);
        }
        let mut program = vec![
            instruction(0xbf, (6, 1), 0, 0),
            instruction(0x85, (0, 0), 0, PRANDOM),
            instruction(0xbf, (7, 0), 0, 0),
            // The beginning of the frame, and whether it is as long as its headers.
            instruction(0x61, (2, 6), 0, 0),
            instruction(0x61, (3, 6), 4, 0),
            instruction(0xbf, (4, 2), 0, 0),
            instruction(0x07, (4, 0), 0, HEADERS as i32),
            instruction(0x2d, (4, 3), writing.len() as i16, 0),
        ];
        program.extend(writing);
        program.extend(returning(3));
        Ok(Self {
            program: kernel::load(&program, &mut Vec::new())?,
            frame: frame.to_vec(),
        })
    }

    /// Has the kernel make so many, as if they came by this interface and were sent back.
    pub fn send(&self, interface: u32, count: u32) -> io::Result<()> {
        kernel::run_live(&self.program, &self.frame, interface, count)
    }
}

/// Drops everything that comes by an interface, until it is dropped itself.
pub struct Sink {
    _link: OwnedFd,
}

impl Sink {
    /// Attaches it by the driver.
    pub fn new(interface: u32) -> io::Result<Self> {
        let program = kernel::load(&returning(1), &mut Vec::new())?;
        Ok(Self {
            _link: kernel::link(&program, interface, Mode::Native)?,
        })
    }
}

/// The end of a program.
fn returning(verdict: i32) -> [Instruction; 2] {
    [
        instruction(0xb7, (0, 0), 0, verdict),
        instruction(0x95, (0, 0), 0, 0),
    ]
}

impl Program {
    /// Nanoseconds that the program itself ran, and how often, while `kernel.bpf_stats_enabled` was set.
    pub fn run_time(&self) -> io::Result<(u64, u64)> {
        let path = format!("/proc/self/fdinfo/{}", self.descriptor().as_raw_fd());
        let text = std::fs::read_to_string(path)?;
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().parse().ok())
                .ok_or(io::ErrorKind::InvalidData)
        };
        Ok((number("run_time_ns:")?, number("run_cnt:")?))
    }
}
