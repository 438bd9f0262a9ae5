//! TLS for both roles: identities, tickets, trust.
//!
//! Owns every rustls configuration and the address-validation and reset keys beside them. Must not know connections.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use aws_lc_rs::aead::{RandomizedNonceKey, AES_256_GCM};
use aws_lc_rs::{hkdf, hmac};
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature, CryptoProvider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ProducesTickets;
use rustls::{
    CertificateError, CipherSuite, DigitallySignedStruct, KeyLog, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::certificate;
use crate::error::EngineError;
use crate::fleet::{open_ticket, seal_ticket};
use crate::identity::{EndpointKeys, Identity};
use crate::randomness::random;
use crate::settings::{ConnectTarget, Settings};

/// Seconds that a session ticket may be used for (RFC 8446 §4.6.1 allows a week).
pub(crate) const TICKET_LIFETIME: u32 = 12 * 60 * 60;

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER
        .get_or_init(|| {
            let mut provider = rustls::crypto::aws_lc_rs::default_provider();
            // AES-128-GCM first: it is as safe here and noticeably cheaper per byte than AES-256-GCM.
            provider
                .cipher_suites
                .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
            Arc::new(provider)
        })
        .clone()
}

/// What the acceptance of connections needs from TLS.
pub(crate) fn server_config(
    identity: &Identity,
    settings: &Settings,
    ticketer: Arc<dyn ProducesTickets>,
    key_log: Option<Arc<dyn KeyLog>>,
) -> Result<Arc<QuicServerConfig>, EngineError> {
    let chain: Vec<CertificateDer<'static>> = identity
        .certificate_chain
        .iter()
        .map(|der| CertificateDer::from(der.clone()))
        .collect();
    if chain.is_empty() {
        return Err(EngineError::settings("the identity has no certificate"));
    }
    let key = PrivateKeyDer::try_from(identity.private_key.clone()).map_err(|error| {
        EngineError::settings(format!("the private key cannot be read: {error}"))
    })?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| {
            EngineError::settings(format!("certificate and key cannot be used: {error}"))
        })?;
    config.alpn_protocols.clone_from(&settings.alpn);
    config.ticketer = ticketer;
    // One ticket per connection is enough: a voice client has one connection at a time.
    config.send_tls13_tickets = 1;
    if let Some(key_log) = key_log {
        config.key_log = key_log;
    }
    QuicServerConfig::try_from(config)
        .map(Arc::new)
        .map_err(|error| EngineError::settings(format!("TLS cannot be used for QUIC: {error}")))
}

/// What one target needs from TLS.
pub(crate) fn client_config(
    target: &ConnectTarget,
    settings: &Settings,
    key_log: Option<Arc<dyn KeyLog>>,
) -> Result<Arc<QuicClientConfig>, EngineError> {
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| EngineError::Connect(format!("TLS cannot be set up: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier(target)?)
        .with_no_client_auth();
    config.alpn_protocols.clone_from(&settings.alpn);
    if let Some(key_log) = key_log {
        config.key_log = key_log;
    }
    QuicClientConfig::try_from(config)
        .map(Arc::new)
        .map_err(|error| EngineError::Connect(format!("TLS cannot be used for QUIC: {error}")))
}

fn verifier(target: &ConnectTarget) -> Result<Arc<dyn ServerCertVerifier>, EngineError> {
    if !target.certificate_hashes.is_empty() {
        return Ok(Arc::new(PinnedCertificate {
            hashes: target.certificate_hashes.clone(),
            provider: provider(),
        }));
    }
    let mut roots = RootCertStore::empty();
    for der in &target.roots {
        roots
            .add(CertificateDer::from(der.clone()))
            .map_err(|error| {
                EngineError::Connect(format!("a root certificate cannot be used: {error}"))
            })?;
    }
    if target.system_roots {
        roots.roots.extend(system_roots().roots.iter().cloned());
    }
    if roots.is_empty() {
        return Err(EngineError::Connect(
            "no root certificate to trust: give roots, system_roots or certificate_hashes".into(),
        ));
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| {
            EngineError::Connect(format!("the root certificates cannot be used: {error}"))
        })?;
    Ok(verifier)
}

/// The machine's trust anchors, read once per process.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        store
    })
}

/// The certificate is none of those that were named.
#[derive(Debug)]
struct NotPinned;

impl fmt::Display for NotPinned {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("its hash is none of those expected")
    }
}

impl std::error::Error for NotPinned {}

/// Trusts leaf certificates by their SHA-256, as browsers do for `serverCertificateHashes`; the validity period counts.
#[derive(Debug)]
struct PinnedCertificate {
    hashes: Vec<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCertificate {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The hash is public, so comparing it need not take constant time.
        if !self.hashes.contains(&certificate::fingerprint(end_entity)) {
            return Err(CertificateError::Other(OtherError(Arc::new(NotPinned))).into());
        }
        let Some(period) = certificate::validity(end_entity) else {
            return Err(CertificateError::BadEncoding.into());
        };
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now < *period.start() {
            Err(CertificateError::NotValidYet.into())
        } else if now > *period.end() {
            Err(CertificateError::Expired.into())
        } else {
            Ok(ServerCertVerified::assertion())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// Session tickets that any server with the same key can open.
struct SharedTickets(RandomizedNonceKey);

impl fmt::Debug for SharedTickets {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SharedTickets")
    }
}

impl ProducesTickets for SharedTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        TICKET_LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        seal_ticket(&self.0, plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        open_ticket(&self.0, ticket)
    }
}

/// The ticket maker of an endpoint: shared if its fleet has a key, private to this process otherwise.
pub(crate) fn ticketer(keys: &EndpointKeys) -> Result<Arc<dyn ProducesTickets>, EngineError> {
    match keys.ticket_key {
        Some(secret) => {
            let key = derive(&secret, b"legato session tickets");
            let key = RandomizedNonceKey::new(&AES_256_GCM, &key)
                .map_err(|_| EngineError::settings("the ticket key cannot be used"))?;
            Ok(Arc::new(SharedTickets(key)))
        }
        None => rustls::crypto::aws_lc_rs::Ticketer::new()
            .map_err(|error| EngineError::settings(format!("no session tickets: {error}"))),
    }
}

/// Key of stateless reset tokens.
pub(crate) fn reset_key(keys: &EndpointKeys) -> Arc<hmac::Key> {
    let secret = keys.reset_key.unwrap_or_else(random);
    Arc::new(hmac::Key::new(
        hmac::HMAC_SHA256,
        &derive(&secret, b"legato stateless reset"),
    ))
}

/// Key of Retry and NEW_TOKEN tokens.
pub(crate) fn token_key(keys: &EndpointKeys) -> Arc<hkdf::Prk> {
    let secret = keys.token_key.unwrap_or_else(random);
    Arc::new(hkdf::Salt::new(hkdf::HKDF_SHA256, b"legato address tokens").extract(&secret))
}

/// Key separation: the same shared secret may be given for several purposes.
pub(crate) fn derive(secret: &[u8; 32], purpose: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, purpose).extract(secret);
    prk.expand(&[b"key"], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut key))
        .expect("32 bytes are one block of HKDF-SHA256");
    key
}

/// Appends TLS secrets to a file in the format that packet analysers read.
#[derive(Debug)]
struct KeyLogFile(Mutex<File>);

impl KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        let mut file = self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        // A full disk must not take calls down; the log is a debugging aid.
        let _ = file.write_all(line.as_bytes());
    }
}

/// Open the key log that the settings ask for.
pub(crate) fn key_log(settings: &Settings) -> Result<Option<Arc<dyn KeyLog>>, EngineError> {
    let Some(path) = &settings.key_log_path else {
        return Ok(None);
    };
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(|error| {
            EngineError::Io(format!(
                "cannot open the key log {}: {error}",
                path.display()
            ))
        })?;
    Ok(Some(Arc::new(KeyLogFile(Mutex::new(file)))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(secret: u8) -> Arc<dyn ProducesTickets> {
        ticketer(&EndpointKeys {
            ticket_key: Some([secret; 32]),
            ..EndpointKeys::default()
        })
        .unwrap()
    }

    #[test]
    fn servers_with_one_key_open_each_others_tickets() {
        let ticket = tickets(1).encrypt(b"state").unwrap();
        assert_eq!(tickets(1).decrypt(&ticket).as_deref(), Some(&b"state"[..]));
        assert_eq!(tickets(2).decrypt(&ticket), None);
    }

    #[test]
    fn damaged_tickets_are_refused() {
        let ticketer = tickets(1);
        let ticket = ticketer.encrypt(b"state").unwrap();
        for length in 0..ticket.len() {
            assert_eq!(ticketer.decrypt(&ticket[..length]), None);
        }
        for position in 0..ticket.len() {
            let mut damaged = ticket.clone();
            damaged[position] ^= 1;
            assert_eq!(ticketer.decrypt(&damaged), None);
        }
    }

    #[test]
    fn a_target_needs_something_to_trust() {
        let error = verifier(&ConnectTarget::default()).unwrap_err();
        assert!(error.to_string().contains("certificate_hashes"), "{error}");
    }
}
