//! Tests from outside: one link, its files and its promises. One program, so that it is linked once.

mod digests;
mod files;
mod link;
mod properties;
