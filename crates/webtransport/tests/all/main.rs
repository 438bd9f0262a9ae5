//! Tests from outside: HTTP/3 and WebTransport, byte by byte. One program, so that it is linked once.

mod belonging;
mod client;
mod pair;
mod requests;
mod rules;
mod server;
mod support;
