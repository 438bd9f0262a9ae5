//! What a caller asks of the driver. Owns the vocabulary; checks were made before, by `front`.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use quinn_proto::{ClientConfig, ServerConfig};

use crate::event::TextField;
use crate::settings::ConnectTarget;
use crate::shared::{SessionShared, StreamShared};

/// A socket as the driver knows it: a number. Numbers are used once.
pub type Via = u32;

/// One way out for each address family that a client may have to use.
#[derive(Debug)]
pub struct NewPath {
    /// Number of the socket.
    pub via: Via,
    /// Its address.
    pub local: SocketAddr,
    /// The server that it is for.
    pub remote: SocketAddr,
    /// The socket itself; None on a virtual network.
    pub socket: Option<std::net::UdpSocket>,
}

/// A request to the driver, in the order in which they were made.
pub(crate) enum Command {
    Connect {
        session: u64,
        shared: Arc<SessionShared>,
        attempt: Box<ConnectAttempt>,
    },
    Session(u64, SessionCommand),
    Stream(u64, StreamCommand),
    Migrate {
        session: u64,
        path: NewPath,
    },
    SetServerConfig(Arc<ServerConfig>),
    RefuseNew(Option<u16>),
    Shutdown {
        code: u32,
        reason: String,
    },
}

/// What can be asked of a session.
pub(crate) enum SessionCommand {
    Accept(Vec<TextField>),
    Reject(u16, Vec<TextField>),
    Close(u32, String),
    Drain,
    OpenStream {
        stream: u64,
        bidirectional: bool,
        shared: Arc<StreamShared>,
    },
    Datagram(Bytes),
}

/// What can be asked of a stream.
pub(crate) enum StreamCommand {
    Send(Bytes, bool),
    Reset(u32),
    Stop(u32),
    SetPriority(i32),
    Pause,
    Resume,
}

/// A client's way to a server, with one path per address to try.
pub(crate) struct ConnectAttempt {
    pub(crate) target: ConnectTarget,
    pub(crate) config: ClientConfig,
    /// Paths not tried yet, the next one last.
    pub(crate) paths: Vec<NewPath>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Command")
    }
}
