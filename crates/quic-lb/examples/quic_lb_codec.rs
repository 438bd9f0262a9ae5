//! Encodes and decodes connection IDs by lines on standard input, one answer each: for comparing implementations.
//!
//! Owns the text. Must not know anything that the crate's public names do not say.
//!
//! ```text
//! encode CONFIG SERVER_ID NONCE RANDOM       -> connection ID
//! issue CONFIG SERVER_ID SEED USED RANDOM    -> connection ID with the nonce after USED others
//! long DCID [CONFIG ...]                     -> config ID and server ID, for a long header
//! short OCTETS [CONFIG ...]                  -> the same for a short header and all behind its first octet
//! ```
//!
//! CONFIG is `id:server_id_len:nonce_len:key:first_octet:cid_len`; octets are hexadecimal, `-` means none. What is
//! refused is answered with `unroutable: reason` or `refused: reason`.

use std::io::{BufRead, Write};

use legato_quic_lb::{
    Config, ConfigId, ConfigSet, FirstOctet, Issuer, Key, Lengths, Nonces, ServerId,
};

type Answer = Result<String, String>;

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = answer(&words).unwrap_or_else(|refused| refused);
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn answer(words: &[&str]) -> Answer {
    match words {
        ["encode", config, server_id, nonce, random] => {
            let server_id = ServerId::new(&octets(server_id)?).map_err(refused)?;
            let cid = configuration(config)?.encode(&server_id, &octets(nonce)?, &exactly(random)?);
            Ok(cid.map_err(refused)?.to_string())
        }
        ["issue", config, server_id, seed, used, random] => {
            let config = configuration(config)?;
            let server_id = ServerId::new(&octets(server_id)?).map_err(refused)?;
            let nonces = Nonces::resume(exactly(seed)?, used.parse().map_err(refused)?);
            let mut issuer = Issuer::new(config.cid_len()).map_err(refused)?;
            issuer.rotate(config, server_id, nonces).map_err(refused)?;
            Ok(issuer
                .issue(&exactly(random)?)
                .map_err(refused)?
                .to_string())
        }
        [header @ ("long" | "short"), dcid, configs @ ..] => {
            let mut set = ConfigSet::new();
            for config in configs {
                set.insert(configuration(config)?).map_err(refused)?;
            }
            let dcid = octets(dcid)?;
            let decoded = match *header {
                "long" => set.decode_long(&dcid),
                _ => set.decode(&dcid),
            };
            let decoded = decoded.map_err(|reason| format!("unroutable: {reason}"))?;
            Ok(format!("{} {}", decoded.config, decoded.server_id))
        }
        _ => Err("refused: not a command".into()),
    }
}

fn configuration(text: &str) -> Result<Config, String> {
    let [id, server_id_len, nonce_len, key, first_octet, cid_len] =
        text.split(':').collect::<Vec<_>>()[..]
    else {
        return Err("refused: a configuration has six parts".into());
    };
    let number = |text: &str| text.parse::<usize>().map_err(refused);
    let id = ConfigId::new(id.parse().map_err(refused)?).map_err(refused)?;
    let lengths = Lengths::new(number(server_id_len)?, number(nonce_len)?).map_err(refused)?;
    let config = match key {
        "-" => Config::plaintext(id, lengths),
        key => Config::encrypted(id, lengths, &Key::new(exactly(key)?)),
    };
    let config = config.with_first_octet(match first_octet {
        "self-described" => FirstOctet::SelfDescribed,
        "random" => FirstOctet::Random,
        "zero" => FirstOctet::Zero,
        _ => return Err("refused: unknown first octet".into()),
    });
    config.with_cid_len(number(cid_len)?).map_err(refused)
}

fn octets(text: &str) -> Result<Vec<u8>, String> {
    if text == "-" {
        return Ok(Vec::new());
    }
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| {
            let pair = std::str::from_utf8(pair).map_err(refused)?;
            u8::from_str_radix(pair, 16).map_err(refused)
        })
        .collect()
}

fn exactly<const N: usize>(text: &str) -> Result<[u8; N], String> {
    octets(text)?
        .try_into()
        .map_err(|_| format!("refused: {N} octets are needed"))
}

fn refused(reason: impl std::fmt::Display) -> String {
    format!("refused: {reason}")
}
