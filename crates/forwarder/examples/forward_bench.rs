//! What forwarding costs: nanoseconds of CPU for each packet, both directions, and how long a packet takes.
//!
//! Owns the measuring. Every forwarder is a process of its own with one thread, whose CPU time the kernel counts; load and
//! servers are threads of this one. Contenders take turns, so that noise of the machine meets all of them.
//!
//! ```text
//! cargo run --release --example forward_bench            plane, simple loop, and nginx if it is installed
//! cargo run --release --example forward_bench -- plane   only those that are named
//! cargo run --release --example forward_bench -- --json  for `legato bench balance`
//! ```

#[cfg(target_os = "linux")]
#[path = "forward_bench/load.rs"]
mod load;

#[cfg(target_os = "linux")]
#[path = "forward_bench/contenders.rs"]
mod contenders;

#[cfg(target_os = "linux")]
fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--as") => contenders::run(&arguments[1], &arguments[2..]),
        _ => load::compare(&arguments),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the plane needs Linux");
}
