//! Fields of requests and responses, and the rules that make a message well formed (RFC 9114 §4).

/// One field line. Names are lower case; values are bytes because HTTP promises no charset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Lower-case name.
    pub name: String,
    /// Value as sent.
    pub value: Vec<u8>,
}

impl Field {
    /// A field from anything that turns into a name and a value.
    pub fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
}

/// What a client asks for when it opens a session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// Host and port, the `:authority`.
    pub authority: String,
    /// Absolute path with query, the `:path`.
    pub path: String,
    /// The `origin` field; browsers always send it.
    pub origin: Option<String>,
    /// All other fields, in order of arrival, without pseudo-header fields.
    pub headers: Vec<Field>,
}
