//! The plane on real sockets of the loopback interface. Servers and clients are sockets of the test, which waits for
//! each packet, five seconds at most.

mod bursts;
mod lifetime;
mod refusals;
mod scene;
mod ways;
