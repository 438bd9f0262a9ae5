//! What can go wrong when the engine is asked for something. Owns the error type; must not know Python.

use std::fmt;

/// A refused request to the engine. What peers do wrong never becomes one of these: it becomes an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineError {
    /// The caller asked for something that is not allowed now; the text says what to do instead.
    Misuse(String),
    /// A setting, key, certificate or address is unusable; the text names it.
    Settings(String),
    /// The operating system refused a socket, a file or a thread.
    Io(String),
    /// No connection can be started: unusable target, unusable trust anchors, no local socket.
    Connect(String),
    /// The endpoint has been shut down, or its thread died; nothing works on it any more.
    Stopped(String),
}

impl EngineError {
    pub(crate) fn misuse(text: impl Into<String>) -> Self {
        Self::Misuse(text.into())
    }

    pub(crate) fn settings(text: impl Into<String>) -> Self {
        Self::Settings(text.into())
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Misuse(text)
        | Self::Settings(text)
        | Self::Io(text)
        | Self::Connect(text)
        | Self::Stopped(text)) = self;
        out.write_str(text)
    }
}

impl std::error::Error for EngineError {}
