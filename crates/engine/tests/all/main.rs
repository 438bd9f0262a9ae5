//! Tests from outside: calls, streams and sessions over virtual networks. One program, so that it is linked once.

mod common;
mod networks;
mod sessions;
mod transfer;
mod trust;
mod weather;
