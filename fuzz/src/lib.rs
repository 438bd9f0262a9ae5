//! Fuzz targets for everything that reads bytes from the network in `legato-webtransport`, `legato-quic-lb` and
//! `legato-forwarder`.
//!
//! Owns what a target feeds and which promises it checks. Must not know which engine makes the input up: the tests in
//! `tests/` run the targets with random input on stable Rust, and the same tests run under libFuzzer (see README.md).

pub mod calls;
pub mod forwarder;
pub mod fragments;
pub mod quic_lb;
pub mod streams;
