//! `legato-netem`: two places, joined by an emulated link, for real programs.
//!
//!     legato-netem list                              the networks there are, as JSON
//!     legato-netem hold NETWORK [--seed N] [--wire tun|veth]
//!     legato-netem in NAMESPACE... -- COMMAND...     run a command in a place
//!
//! `hold` makes a client's and a server's network namespace whose only way to each other is the link, says on standard output
//! where they are, and carries packets until its standard input ends. The line `begin` there starts the network's story. Exit
//! codes: 1 it failed, 2 it was asked wrongly, 69 this machine does not allow it; each with one line on standard error.
//!
//! Owns the command line. `legato netem` is the friendlier face of this program.

mod carrier;
mod device;
mod lateness;
mod places;
mod report;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use legato_netem::Network;
use places::Wire;

/// Why the program ends early.
pub enum Failure {
    /// Something did not work that should have.
    Failed(String),
    /// The command line is wrong.
    Misused(String),
    /// This machine or this user may not do it.
    Unavailable(String),
}

impl Failure {
    fn code_and_text(self) -> (u8, String) {
        match self {
            Self::Failed(text) => (1, text),
            Self::Misused(text) => (2, text),
            Self::Unavailable(text) => (69, text),
        }
    }
}

/// What can go wrong with an operation of the system, said in one sentence.
pub fn failed(what: &str) -> impl Fn(nix::Error) -> Failure + '_ {
    move |error| Failure::Failed(format!("{what}: {}", error.desc()))
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let (code, text) = failure.code_and_text();
            eprintln!("legato-netem: {text}");
            ExitCode::from(code)
        }
    }
}

fn run(words: &[OsString]) -> Result<(), Failure> {
    match words.first().and_then(|word| word.to_str()) {
        Some("list") if words.len() == 1 => {
            println!("{}", report::library());
            Ok(())
        }
        Some("hold") => hold(&words[1..]),
        Some("in") => enter(&words[1..]),
        _ => Err(Failure::Misused(
            "the commands are list, hold NETWORK [--seed N] [--wire tun|veth], in NAMESPACE... -- COMMAND...".into(),
        )),
    }
}

fn hold(words: &[OsString]) -> Result<(), Failure> {
    let mut name = None;
    let (mut seed, mut wire) = (1, None);
    let mut rest = words.iter().map(|word| word.to_string_lossy());
    while let Some(word) = rest.next() {
        match &*word {
            "--seed" => {
                let value = rest.next().unwrap_or_default();
                seed = value.parse().map_err(|_| {
                    Failure::Misused(format!(
                        "--seed {value}: a whole number from 0 to 2^64 - 1 is needed"
                    ))
                })?;
            }
            "--wire" => {
                wire = match &*rest.next().unwrap_or_default() {
                    "tun" => Some(Wire::Tun),
                    "veth" => Some(Wire::Veth),
                    other => return Err(Failure::Misused(format!("--wire {other}: tun or veth"))),
                }
            }
            _ if name.is_none() => name = Some(word.into_owned()),
            _ => return Err(Failure::Misused(format!("{word}: one network is enough"))),
        }
    }
    let name = name.ok_or_else(|| Failure::Misused("hold needs the name of a network".into()))?;
    let network = network(&name)?;
    let places = places::build(wire)?;
    carrier::carry(network, seed, places)
}

/// A network of the library, or of a file if the name ends in `.toml`.
fn network(name: &str) -> Result<Network, Failure> {
    let found = if name.ends_with(".toml") {
        let text = std::fs::read_to_string(name)
            .map_err(|error| Failure::Misused(format!("{name} cannot be read: {error}")))?;
        Network::parse(name, &text)
    } else {
        Network::named(name)
    };
    found.map_err(|error| Failure::Misused(error.to_string()))
}

fn enter(words: &[OsString]) -> Result<(), Failure> {
    let usage = || Failure::Misused("in NAMESPACE... -- COMMAND...".into());
    let split = words
        .iter()
        .position(|word| word == "--")
        .ok_or_else(usage)?;
    let (namespaces, command) = (&words[..split], &words[split + 1..]);
    let (program, arguments) = command.split_first().ok_or_else(usage)?;
    for namespace in namespaces {
        places::enter(namespace.as_ref())?;
    }
    let error = Command::new(program).args(arguments).exec();
    Err(Failure::Failed(format!(
        "{}: {error}",
        program.to_string_lossy()
    )))
}
