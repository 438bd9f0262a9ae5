//! The system call bpf(2): maps, programs, links.
//!
//! Owns the layout of its arguments (linux/bpf.h) and descriptors. Must not know what programs do.
#![allow(unsafe_code)] // one system call, whose arguments are structures with pointers

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const MAP_CREATE: u32 = 0;
const MAP_LOOKUP: u32 = 1;
const MAP_UPDATE: u32 = 2;
const PROGRAM_LOAD: u32 = 5;
const PIN: u32 = 6;
const GET_PINNED: u32 = 7;
const TEST_RUN: u32 = 10;
const INFORMATION: u32 = 15;
const LINK_CREATE: u32 = 28;
const LINK_UPDATE: u32 = 29;
const LINK_DETACH: u32 = 34;

const LIVE_FRAMES: u32 = 1 << 1;
const PROGRAM_TYPE_XDP: u32 = 6;
const ATTACH_TYPE_XDP: u32 = 37;
const LINK_TYPE_XDP: u32 = 6;
/// `bpf_fib_lookup` is for programs under the GPL, which ours may be taken as.
const LICENSE: &[u8] = b"Dual BSD/GPL\0";

/// What kinds of map are used here.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum MapKind {
    Array = 2,
    PerCpuArray = 6,
    ArrayOfMaps = 12,
}

/// How a program is attached to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Mode {
    /// By the kernel for any interface, after it has made its own structure for each packet.
    Generic = 1 << 1,
    /// By the driver, before that.
    Native = 1 << 2,
}

impl Mode {
    /// Its name for people and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Native => "native",
        }
    }
}

/// One instruction of BPF.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

#[derive(Default)]
#[repr(C)]
struct MapArguments {
    kind: u32,
    key_size: u32,
    value_size: u32,
    entries: u32,
    flags: u32,
    inner: u32,
}

#[derive(Default)]
#[repr(C)]
struct ElementArguments {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[derive(Default)]
#[repr(C)]
struct ProgramArguments {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach_type: u32,
}

#[derive(Default)]
#[repr(C)]
struct PinArguments {
    path: u64,
    descriptor: u32,
    flags: u32,
}

#[derive(Default)]
#[repr(C)]
struct TestArguments {
    program: u32,
    verdict: u32,
    octets_in: u32,
    octets_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    nanoseconds: u32,
    context_in_size: u32,
    context_out_size: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch: u32,
    padding: u32,
}

#[derive(Default)]
#[repr(C)]
struct InformationArguments {
    descriptor: u32,
    size: u32,
    into: u64,
}

#[derive(Default)]
#[repr(C)]
struct LinkInformation {
    kind: u32,
    id: u32,
    program: u32,
    padding: u32,
    interface: u32,
    rest: [u32; 11],
}

#[derive(Default)]
#[repr(C)]
struct LinkArguments {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

#[derive(Default)]
#[repr(C)]
struct UpdateArguments {
    link: u32,
    program: u32,
    flags: u32,
    before: u32,
}

/// What `BPF_PROG_TEST_RUN` gives back.
#[derive(Debug, Clone)]
pub struct TestRun {
    /// What the program returned: `XDP_DROP` is 1, `XDP_PASS` 2, `XDP_TX` 3, `XDP_REDIRECT` 4.
    pub verdict: u32,
    /// The frame as the program left it.
    pub frame: Vec<u8>,
    /// What a run took, on average, in nanoseconds.
    pub nanoseconds: u32,
}

fn call<T>(command: u32, arguments: &mut T) -> io::Result<i32> {
    // SAFETY: `arguments` is as large as is said, all its octets have values, and each caller sees to it that pointers
    // inside lead to memory of the size that the kernel expects of the command, which lives through the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            &raw mut *arguments,
            size_of::<T>() as u32,
        )
    };
    match result {
        0.. => Ok(result as i32),
        _ => Err(io::Error::last_os_error()),
    }
}

fn descriptor<T>(command: u32, arguments: &mut T) -> io::Result<OwnedFd> {
    let made = call(command, arguments)?;
    // SAFETY: these commands give a new descriptor, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

fn number(of: &OwnedFd) -> u32 {
    of.as_raw_fd() as u32
}

/// Makes a map with keys of four octets. `inner` is what the maps in a map of maps look like.
pub(crate) fn make_map(
    kind: MapKind,
    value_size: usize,
    entries: u32,
    inner: Option<&OwnedFd>,
) -> io::Result<OwnedFd> {
    let mut arguments = MapArguments {
        kind: kind as u32,
        key_size: 4,
        value_size: value_size as u32,
        entries,
        flags: 0,
        inner: inner.map_or(0, number),
    };
    descriptor(MAP_CREATE, &mut arguments)
}

/// Writes a value, which has to be as long as those of the map.
pub(crate) fn write(map: &OwnedFd, key: u32, value: &[u8]) -> io::Result<()> {
    let mut arguments = ElementArguments {
        map: number(map),
        key: (&raw const key) as u64,
        value: value.as_ptr() as u64,
        ..Default::default()
    };
    call(MAP_UPDATE, &mut arguments).map(drop)
}

/// Reads a value into `value`, which has to be as long as the map's, for each processor if there is one for each.
pub(crate) fn read(map: &OwnedFd, key: u32, value: &mut [u64]) -> io::Result<()> {
    let mut arguments = ElementArguments {
        map: number(map),
        key: (&raw const key) as u64,
        value: value.as_mut_ptr() as u64,
        ..Default::default()
    };
    call(MAP_LOOKUP, &mut arguments).map(drop)
}

/// Loads a program for XDP. If the kernel refuses it, `log` has its reasons.
pub(crate) fn load(instructions: &[Instruction], log: &mut Vec<u8>) -> io::Result<OwnedFd> {
    let mut arguments = ProgramArguments {
        kind: PROGRAM_TYPE_XDP,
        count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        name: *b"legato_balance\0\0",
        attach_type: ATTACH_TYPE_XDP,
        ..Default::default()
    };
    match descriptor(PROGRAM_LOAD, &mut arguments) {
        Err(error) if error.raw_os_error() != Some(libc::EPERM) => {
            log.resize(1 << 24, 0);
            arguments.log_level = 1;
            arguments.log_size = log.len() as u32;
            arguments.log = log.as_mut_ptr() as u64;
            descriptor(PROGRAM_LOAD, &mut arguments)
        }
        loaded => loaded,
    }
}

/// Attaches a program to an interface; it is detached when the link is closed and nowhere pinned.
pub(crate) fn link(program: &OwnedFd, interface: u32, mode: Mode) -> io::Result<OwnedFd> {
    let mut arguments = LinkArguments {
        program: number(program),
        interface,
        attach_type: ATTACH_TYPE_XDP,
        flags: mode as u32,
    };
    descriptor(LINK_CREATE, &mut arguments)
}

/// Puts a program in the place of the one that is linked. Each packet meets one of them.
pub(crate) fn replace(link: &OwnedFd, program: &OwnedFd) -> io::Result<()> {
    let mut arguments = UpdateArguments {
        link: number(link),
        program: number(program),
        ..Default::default()
    };
    call(LINK_UPDATE, &mut arguments).map(drop)
}

/// Takes the program off its interface, whoever else has the link.
pub(crate) fn detach(link: &OwnedFd) -> io::Result<()> {
    call(LINK_DETACH, &mut number(link)).map(drop)
}

/// The interface that a link belongs to: 0 if that is gone, nothing if it is no link for XDP.
pub(crate) fn interface_of(link: &OwnedFd) -> io::Result<Option<u32>> {
    let mut found = LinkInformation::default();
    let mut arguments = InformationArguments {
        descriptor: number(link),
        size: size_of::<LinkInformation>() as u32,
        into: (&raw mut found) as u64,
    };
    call(INFORMATION, &mut arguments)?;
    Ok((found.kind == LINK_TYPE_XDP).then_some(found.interface))
}

/// Gives an object a name in a BPF file system, which keeps it when this process ends.
pub(crate) fn pin(object: &OwnedFd, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut arguments = PinArguments {
        path: path.as_ptr() as u64,
        descriptor: number(object),
        flags: 0,
    };
    call(PIN, &mut arguments).map(drop)
}

/// The object that has a name in a BPF file system.
pub(crate) fn pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut arguments = PinArguments {
        path: path.as_ptr() as u64,
        ..Default::default()
    };
    descriptor(GET_PINNED, &mut arguments)
}

/// Makes `count` frames and does with them what the program says, as if they had come by an interface.
pub(crate) fn run_live(
    program: &OwnedFd,
    frame: &[u8],
    interface: u32,
    count: u32,
) -> io::Result<()> {
    let context = [0, frame.len() as u32, 0, interface, 0, 0u32];
    let mut arguments = TestArguments {
        program: number(program),
        octets_in: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat: count,
        context_in_size: size_of_val(&context) as u32,
        context_in: context.as_ptr() as u64,
        flags: LIVE_FRAMES,
        ..Default::default()
    };
    call(TEST_RUN, &mut arguments).map(drop)
}

/// Runs a program on a frame without an interface, `repeat` times.
pub(crate) fn test_run(
    program: &OwnedFd,
    frame: &[u8],
    context: &[u32; 6],
    repeat: u32,
) -> io::Result<TestRun> {
    let mut out = vec![0; frame.len() + 256];
    let mut arguments = TestArguments {
        program: number(program),
        octets_in: frame.len() as u32,
        octets_out: out.len() as u32,
        data_in: frame.as_ptr() as u64,
        data_out: out.as_mut_ptr() as u64,
        repeat,
        context_in_size: size_of_val(context) as u32,
        context_in: context.as_ptr() as u64,
        ..Default::default()
    };
    call(TEST_RUN, &mut arguments)?;
    out.truncate(arguments.octets_out as usize);
    Ok(TestRun {
        verdict: arguments.verdict,
        frame: out,
        nanoseconds: arguments.nanoseconds,
    })
}
