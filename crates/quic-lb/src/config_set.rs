//! The balancer's half: all active configurations, and what a destination connection ID says under them.
//!
//! Owns decoding by codepoint. Must not know servers, addresses or packets beyond the connection ID.

use crate::{Config, ConfigError, ConfigId, ServerId, Unroutable};

/// What a routable connection ID says. Whether that server is active is for the caller to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decoded {
    /// The configuration it was issued under.
    pub config: ConfigId,
    /// The server that issued it.
    pub server_id: ServerId,
}

/// Up to seven configurations that are active at once, one for each codepoint.
#[derive(Debug, Clone, Default)]
pub struct ConfigSet {
    configs: [Option<Config>; ConfigId::COUNT],
}

impl ConfigSet {
    /// A set without configurations: everything is unroutable.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a configuration. Its codepoint must be free: to reuse one, wait until all its connection IDs are gone, then
    /// [`remove`](Self::remove) its configuration.
    pub fn insert(&mut self, config: Config) -> Result<(), ConfigError> {
        let place = &mut self.configs[usize::from(config.id().get())];
        if place.is_some() {
            return Err(ConfigError::CodepointInUse(config.id()));
        }
        *place = Some(config);
        Ok(())
    }

    /// Removes the configuration at a codepoint, so that its connection IDs become unroutable.
    pub fn remove(&mut self, id: ConfigId) -> Option<Config> {
        self.configs[usize::from(id.get())].take()
    }

    /// The configuration at a codepoint.
    pub fn get(&self, id: ConfigId) -> Option<&Config> {
        self.configs[usize::from(id.get())].as_ref()
    }

    /// The active configurations in the order of their codepoints.
    pub fn iter(&self) -> impl Iterator<Item = &Config> {
        self.configs.iter().flatten()
    }

    /// Decodes octets that begin with a destination connection ID. More may follow, because a short header does not
    /// say where it ends: give all that is behind the header's first octet.
    pub fn decode(&self, octets: &[u8]) -> Result<Decoded, Unroutable> {
        let config = self.config_of(octets)?;
        Ok(Decoded {
            config: config.id(),
            server_id: config.server_id(octets)?,
        })
    }

    /// Decodes the destination connection ID of a long header, whose length is known: it must also be the one that the
    /// ID describes, if the configuration is [`SelfDescribed`](crate::FirstOctet::SelfDescribed). So fewer of the IDs
    /// that clients make up pass for a server's.
    pub fn decode_long(&self, dcid: &[u8]) -> Result<Decoded, Unroutable> {
        let config = self.config_of(dcid)?;
        if !config.describes(dcid) {
            return Err(Unroutable::WrongLength);
        }
        self.decode(dcid)
    }

    fn config_of(&self, octets: &[u8]) -> Result<&Config, Unroutable> {
        let first = *octets.first().ok_or(Unroutable::TooShort)?;
        let id = ConfigId::of(first).ok_or(Unroutable::ReservedCodepoint)?;
        self.get(id).ok_or(Unroutable::UnknownConfig)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FirstOctet, Key, Lengths};

    fn id(id: u8) -> ConfigId {
        ConfigId::new(id).unwrap()
    }

    fn plaintext(config: u8) -> Config {
        Config::plaintext(id(config), Lengths::new(3, 4).unwrap())
    }

    #[test]
    fn a_codepoint_is_taken_until_its_configuration_is_removed() {
        let mut set = ConfigSet::new();
        set.insert(plaintext(1)).unwrap();
        let again = Config::encrypted(id(1), Lengths::new(8, 8).unwrap(), &Key::new([1; 16]));
        assert_eq!(
            set.insert(again.clone()),
            Err(ConfigError::CodepointInUse(id(1)))
        );
        assert!(set.remove(id(1)).is_some());
        assert!(set.remove(id(1)).is_none());
        set.insert(again).unwrap();
        assert!(set.get(id(1)).unwrap().is_encrypted());
        assert_eq!(
            set.iter()
                .map(|config| config.id().get())
                .collect::<Vec<_>>(),
            [1]
        );
    }

    #[test]
    fn an_empty_set_routes_nothing() {
        let set = ConfigSet::new();
        for first in 0..=255u8 {
            let expected = match first >> 5 {
                7 => Unroutable::ReservedCodepoint,
                _ => Unroutable::UnknownConfig,
            };
            assert_eq!(set.decode(&[first; 20]), Err(expected));
        }
        assert_eq!(set.decode(&[]), Err(Unroutable::TooShort));
        assert_eq!(set.decode_long(&[]), Err(Unroutable::TooShort));
    }

    #[test]
    fn a_long_header_must_agree_with_what_the_id_describes() {
        let mut set = ConfigSet::new();
        set.insert(plaintext(0)).unwrap();
        set.insert(plaintext(1).with_first_octet(FirstOctet::Random))
            .unwrap();
        let described = [0x07, 1, 2, 3, 4, 5, 6, 7];
        assert_eq!(
            set.decode_long(&described).unwrap().server_id[..],
            [1, 2, 3]
        );
        let longer = [0x07, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(set.decode_long(&longer), Err(Unroutable::WrongLength));
        assert!(set.decode(&longer).is_ok());
        let random = [0x20, 1, 2, 3, 4, 5, 6, 7, 8];
        assert!(set.decode_long(&random).is_ok());
        assert_eq!(set.decode_long(&random[..7]), Err(Unroutable::TooShort));
    }
}
