//! The program and its maps: loaded, fed with views, read out.
//!
//! Owns these objects of the kernel. Must not know interfaces: nothing happens to packets before the program is attached.
//!
//! # Theory of operation
//!
//! The program reads everything from one value of a map, and that map is the only entry of another. A new view is written
//! into a new map, which then takes the other one's place: a packet meets all of one view. The kernel waits until no
//! packet is looked at with the old one before it says that it is done.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget};
use rustc_hash::FxHashMap;

use super::error::XdpError;
use super::image::{image, Surroundings, BACKENDS, LAYOUT, VIEW_SIZE};
use super::kernel::{self, Instruction, MapKind, TestRun};
use super::tables::Tables;
use crate::plane::FIELDS;
use crate::{Totals, Traffic, View};

const LOAD_IMMEDIATE: u8 = 0x18;
/// In the upper half of the registers: the immediate is the descriptor of a map.
const IS_MAP: u8 = 1 << 4;

/// What the program has counted.
#[derive(Debug, Clone, Default)]
pub struct XdpCounts {
    /// Packets that it decided about.
    pub totals: Totals,
    /// Packets for the balancer that it left to the plane in userspace.
    pub passed: u64,
    /// The traffic of each server of the view.
    pub backends: Vec<(SocketAddr, Traffic)>,
}

/// The counter of a server, and what it said when it became that server's.
#[derive(Debug, Clone, Copy)]
struct Meter {
    number: u32,
    before: Traffic,
}

/// A program in the kernel with a view.
pub struct Program {
    program: OwnedFd,
    views: OwnedFd,
    counts: OwnedFd,
    meters: OwnedFd,
    processors: usize,
    tables: Tables,
    metered: FxHashMap<SocketAddr, Meter>,
    order: Vec<SocketAddr>,
}

impl Program {
    /// Loads the object that xdp/build makes. It decides nothing before it has a view.
    pub fn load(object: &[u8]) -> Result<Self, XdpError> {
        let processors =
            processors().map_err(|error| XdpError::System("count processors", error))?;
        let code = Code::read(object)?;
        let make = |kind, size, entries, inner: Option<&OwnedFd>| {
            kernel::make_map(kind, size, entries, inner).map_err(refused)
        };
        let like = make(MapKind::Array, VIEW_SIZE, 1, None)?;
        let views = make(MapKind::ArrayOfMaps, 4, 1, Some(&like))?;
        let counts = make(MapKind::PerCpuArray, 8 * FIELDS, 1, None)?;
        let meters = make(MapKind::PerCpuArray, 16, BACKENDS as u32, None)?;
        let mut log = Vec::new();
        let instructions = code.with_maps(|name| match name {
            "views" => Some(&views),
            "counts" => Some(&counts),
            "meters" => Some(&meters),
            _ => None,
        })?;
        let program =
            kernel::load(&instructions, &mut log).map_err(|error| match error.raw_os_error() {
                Some(libc::EPERM) => XdpError::Permission,
                _ => XdpError::Refused(error, last_line(&log)),
            })?;
        Ok(Self {
            program,
            views,
            counts,
            meters,
            processors,
            tables: Tables::new(),
            metered: FxHashMap::default(),
            order: Vec::new(),
        })
    }

    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.program
    }

    /// Decides by this view from the next packet on, for packets at these addresses; it sends by these interfaces only,
    /// and leaves the rest to the plane in userspace.
    pub fn set_view(
        &mut self,
        view: &View,
        listeners: &[SocketAddr],
        interfaces: &[u32],
    ) -> Result<(), XdpError> {
        let failed = |error| XdpError::System("give the kernel a view", error);
        let order: Vec<SocketAddr> = view
            .backends()
            .iter()
            .map(|backend| backend.address)
            .collect();
        let metered = self.assign(&order).map_err(failed)?;
        let meters: Vec<u32> = order
            .iter()
            .map(|address| metered[address].number)
            .collect();
        let around = Surroundings {
            listeners,
            interfaces,
            meters: &meters,
        };
        let value = image(view, &self.tables, &around)?;
        let inner = kernel::make_map(MapKind::Array, VIEW_SIZE, 1, None).map_err(failed)?;
        kernel::write(&inner, 0, &value).map_err(failed)?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&inner).to_ne_bytes();
        kernel::write(&self.views, 0, &number).map_err(failed)?;
        self.metered = metered;
        self.order = order;
        Ok(())
    }

    /// Who has which counter from now on: those that stay keep theirs.
    fn assign(&self, order: &[SocketAddr]) -> io::Result<FxHashMap<SocketAddr, Meter>> {
        let mut taken = vec![false; BACKENDS];
        let mut metered = FxHashMap::default();
        for address in order {
            if let Some(meter) = self.metered.get(address) {
                taken[meter.number as usize] = true;
                metered.insert(*address, *meter);
            }
        }
        let mut free = (0..BACKENDS as u32).filter(|number| !taken[*number as usize]);
        for address in order {
            if !metered.contains_key(address) {
                // A view has no more backends than there are counters.
                let number = free.next().ok_or(io::ErrorKind::OutOfMemory)?;
                let before = self.traffic(number)?;
                metered.insert(*address, Meter { number, before });
            }
        }
        Ok(metered)
    }

    /// What was counted until now.
    pub fn counts(&self) -> io::Result<XdpCounts> {
        let mut totals = Totals::from_fields(self.sum::<FIELDS>(&self.counts, 0)?);
        // There are no batches here; the place is that of what was passed on.
        let passed = std::mem::take(&mut totals.batches);
        let backends = self.order.iter().map(|address| {
            let meter = self.metered[address];
            let now = self.traffic(meter.number)?;
            let since = Traffic {
                requests: now.requests.wrapping_sub(meter.before.requests),
                replies: now.replies.wrapping_sub(meter.before.replies),
            };
            Ok((*address, since))
        });
        Ok(XdpCounts {
            totals,
            passed,
            backends: backends.collect::<io::Result<_>>()?,
        })
    }

    fn traffic(&self, meter: u32) -> io::Result<Traffic> {
        let [requests, replies] = self.sum(&self.meters, meter)?;
        Ok(Traffic { requests, replies })
    }

    /// The sum of what each processor has.
    fn sum<const N: usize>(&self, map: &OwnedFd, key: u32) -> io::Result<[u64; N]> {
        let mut values = vec![0; N * self.processors];
        kernel::read(map, key, &mut values)?;
        let mut sums = [0u64; N];
        for each in values.chunks_exact(N) {
            for (sum, value) in sums.iter_mut().zip(each) {
                *sum = sum.wrapping_add(*value);
            }
        }
        Ok(sums)
    }

    /// Runs the program on a frame that is said to come by an interface, `repeat` times, and sends nothing.
    pub fn test_run(&self, frame: &[u8], interface: u32, repeat: u32) -> io::Result<TestRun> {
        let context = [0, frame.len() as u32, 0, interface, 0, 0];
        kernel::test_run(&self.program, frame, &context, repeat)
    }
}

fn refused(error: io::Error) -> XdpError {
    match error.raw_os_error() {
        Some(libc::EPERM) => XdpError::Permission,
        _ => XdpError::System("make a map in the kernel", error),
    }
}

fn last_line(log: &[u8]) -> String {
    let text = log.split(|octet| *octet == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let mut lines = text
        .lines()
        .rev()
        .filter(|line| !line.is_empty() && !line.starts_with("processed "));
    lines.next().unwrap_or("it does not say why").to_owned()
}

/// How many processors there may ever be: maps have a value for each.
fn processors() -> io::Result<usize> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible")?;
    let last = text
        .trim()
        .rsplit([',', '-'])
        .next()
        .and_then(|last| last.parse::<usize>().ok());
    last.map(|last| last + 1)
        .ok_or(io::ErrorKind::InvalidData.into())
}

/// What is read from the object.
struct Code<'a> {
    instructions: Vec<Instruction>,
    /// Where descriptors of maps go.
    maps: Vec<(usize, &'a str)>,
}

impl<'a> Code<'a> {
    fn read(object: &'a [u8]) -> Result<Self, XdpError> {
        let file =
            ElfFile64::<object::Endianness>::parse(object).map_err(|_| XdpError::NoProgram)?;
        let section = |name| file.section_by_name(name).ok_or(XdpError::NoProgram);
        let layout = section("layout")?.data().map_err(|_| XdpError::NoProgram)?;
        let ours = [LAYOUT, VIEW_SIZE as u32, 8 * FIELDS as u32].map(u32::to_ne_bytes);
        if layout != ours.as_flattened() {
            return Err(XdpError::OtherVersion);
        }
        let code = section("xdp")?;
        let octets = code.data().map_err(|_| XdpError::NoProgram)?;
        let instructions = octets.chunks_exact(8).map(|each| Instruction {
            code: each[0],
            registers: each[1],
            offset: i16::from_ne_bytes([each[2], each[3]]),
            immediate: i32::from_ne_bytes([each[4], each[5], each[6], each[7]]),
        });
        let mut maps = Vec::new();
        for (at, relocation) in code.relocations() {
            let RelocationTarget::Symbol(symbol) = relocation.target() else {
                return Err(XdpError::NoProgram);
            };
            let symbol = file
                .symbol_by_index(symbol)
                .map_err(|_| XdpError::NoProgram)?;
            maps.push((
                at as usize / 8,
                symbol.name().map_err(|_| XdpError::NoProgram)?,
            ));
        }
        Ok(Self {
            instructions: instructions.collect(),
            maps,
        })
    }

    fn with_maps<'m>(
        mut self,
        map: impl Fn(&str) -> Option<&'m OwnedFd>,
    ) -> Result<Vec<Instruction>, XdpError> {
        for (at, name) in self.maps {
            let map = map(name).ok_or(XdpError::NoProgram)?;
            let place = self.instructions.get_mut(at).ok_or(XdpError::NoProgram)?;
            if place.code != LOAD_IMMEDIATE {
                return Err(XdpError::NoProgram);
            }
            place.registers |= IS_MAP;
            place.immediate = std::os::fd::AsRawFd::as_raw_fd(map);
        }
        Ok(self.instructions)
    }
}
