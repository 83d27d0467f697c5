//! The TLS session below the exchange: 1.3 only, a fresh key for each connection and side, no resumption.
//!
//! Keys are raw public keys (RFC 7250): they are good for one connection and vouched for by evidence, so a
//! certificate around them would be one more thing to parse. The verifiers here check possession only.

use std::sync::{Arc, LazyLock};

use crate::key::OneKey;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{
    AlwaysResolvesServerRawPublicKeys, ClientHello, NoServerSessionStorage, ResolvesServerCert,
};
use rustls::sign::CertifiedKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
};

/// The only protocol that is spoken.
pub(crate) const ALPN: &[u8] = b"nacre-atls/1";
const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

/// Configuration of one server connection: what all have in common, and its own key.
pub(crate) fn server_config(key: &OneKey) -> Result<Arc<ServerConfig>, Error> {
    static COMMON: LazyLock<Result<ServerConfig, Error>> = LazyLock::new(common_server);
    let mut config = COMMON.clone()?;
    config.cert_resolver = Arc::new(AlwaysResolvesServerRawPublicKeys::new(
        key.certified.clone(),
    ));
    Ok(Arc::new(config))
}

fn common_server() -> Result<ServerConfig, Error> {
    let provider = crypto();
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(VERSIONS)?
        .with_client_cert_verifier(Arc::new(Possession { provider }))
        .with_cert_resolver(Arc::new(NoKey));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

/// Configuration of one client connection, in the same way.
pub(crate) fn client_config(key: &OneKey) -> Result<Arc<ClientConfig>, Error> {
    static COMMON: LazyLock<Result<ClientConfig, Error>> = LazyLock::new(common_client);
    let mut config = COMMON.clone()?;
    config.client_auth_cert_resolver = Arc::new(AlwaysResolvesClientRawPublicKeys::new(
        key.certified.clone(),
    ));
    Ok(Arc::new(config))
}

fn common_client() -> Result<ClientConfig, Error> {
    let provider = crypto();
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Possession { provider }))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.enable_sni = false;
    Ok(config)
}

/// In what connections have in common: there is no key that two of them could share.
#[derive(Debug)]
struct NoKey;

impl ResolvesServerCert for NoKey {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// A name for the library; it is not sent and not checked.
pub(crate) fn server_name() -> ServerName<'static> {
    ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into())
}

fn crypto() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            // Both ends are ours, so there is one group and nothing to be talked down to. It holds against
            // somebody who records now and has a quantum computer later.
            kx_groups: vec![provider::kx_group::X25519MLKEM768],
            ..provider::default_provider()
        })
    });
    PROVIDER.clone()
}

/// Accepts any key whose possession is proven. Whose key it is, the exchange decides.
#[derive(Debug)]
struct Possession {
    provider: Arc<CryptoProvider>,
}

impl Possession {
    fn proven(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(key.as_ref());
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &spki, signature, algorithms)
    }
}

impl ServerCertVerifier for Possession {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.proven(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Possession {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.proven(message, key, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
