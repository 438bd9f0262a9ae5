//! What forwarding in the kernel costs: nanoseconds of CPU for each packet.
//!
//! Owns the measuring. It runs as root, in networks and a view of the files of its own, which end with it.
//!
//! ```text
//! cargo run --release --example xdp_bench -- PROGRAM          PROGRAM is what xdp/build makes
//! cargo run --release --example xdp_bench -- PROGRAM --json   for `legato bench balance`
//! ```

#[cfg(target_os = "linux")]
#[path = "xdp_bench/measure.rs"]
mod measure;

#[cfg(target_os = "linux")]
#[path = "xdp_bench/packets.rs"]
mod packets;

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--inside") => measure::compare(&arguments[1..]),
        Some(_) => measure::in_own_network(&arguments),
        None => Err("name the program that crates/forwarder/xdp/build makes".into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the plane needs Linux");
}
