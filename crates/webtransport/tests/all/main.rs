//! Tests from outside: HTTP/3 and WebTransport, byte by byte. One program, so that it is linked once.

mod client;
mod pair;
mod rules;
mod server;
mod support;
