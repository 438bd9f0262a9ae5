//! Tests from outside: decisions, datagrams and the plane. One program, so that it is linked once.

mod decisions;
mod encapsulation;
#[cfg(target_os = "linux")]
mod frames;
#[cfg(target_os = "linux")]
mod kernel;
mod maglev;
#[cfg(target_os = "linux")]
mod plane;
#[cfg(target_os = "linux")]
mod traffic;
mod vectors;
#[cfg(target_os = "linux")]
mod xdp;
#[cfg(target_os = "linux")]
mod xdp_vectors;
