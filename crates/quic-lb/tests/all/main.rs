//! Tests from outside: vectors and properties of connection IDs. One program, so that it is linked once.

mod properties;
mod vectors;
