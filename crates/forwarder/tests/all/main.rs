//! Tests from outside: decisions, datagrams and the plane. One program, so that it is linked once.

mod decisions;
mod encapsulation;
mod maglev;
#[cfg(target_os = "linux")]
mod plane;
