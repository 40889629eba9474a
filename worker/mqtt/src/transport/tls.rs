//! TLS by rustls with the ring provider; certificates are read again for each connection.

use std::{io, path::Path, path::PathBuf, sync::Arc};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{self, AlertDescription, CertificateError, ClientConfig, RootCertStore, crypto::ring},
};

use super::Wire;
use crate::{TlsConfig, Trouble};

/// Why there is no secure stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot read certificates from {}", path.display())]
    Certificates { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("{} holds no certificate in PEM format", path.display())]
    Empty { path: PathBuf },
    #[error("cannot read a private key from {}", path.display())]
    Key { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("the system has no root certificates: name an authority (caSecretRef, ca.crt)")]
    NoRoots,
    #[error("the certificates cannot be used")]
    Unusable(#[source] rustls::Error),
    #[error("{host:?} is neither a DNS name nor an address")]
    Host { host: String },
    #[error("{}", explain(.0).unwrap_or("the TLS handshake failed"))]
    Handshake(#[source] io::Error),
}

impl TlsError {
    /// What kind of trouble it is.
    pub(crate) fn trouble(&self) -> Trouble {
        match self {
            Self::Handshake(error) => trouble(error).unwrap_or(Trouble::TlsRefused),
            _ => Trouble::Misconfigured,
        }
    }
}

/// Shakes hands over `tcp` with the host that the url names.
pub(super) async fn connect<W: Wire>(
    tcp: W,
    host: &str,
    config: &TlsConfig,
) -> Result<TlsStream<W>, TlsError> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| TlsError::Host { host: host.to_owned() })?;
    let connector = TlsConnector::from(Arc::new(client_config(config)?));
    connector.connect(name, tcp).await.map_err(TlsError::Handshake)
}

fn client_config(config: &TlsConfig) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?
        .with_root_certificates(roots(config)?);
    match &config.client {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => builder
            .with_client_auth_cert(certificates(chain)?, private_key(key)?)
            .map_err(TlsError::Unusable),
    }
}

fn roots(config: &TlsConfig) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    if let Some(path) = &config.ca {
        for certificate in certificates(path)? {
            store.add(certificate).map_err(TlsError::Unusable)?;
        }
        return Ok(store);
    }
    // Some of a system's certificates may be unreadable; the rest is as good.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        return Err(TlsError::NoRoots);
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Certificates { path: path.to_owned(), source };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    if certificates.is_empty() {
        return Err(TlsError::Empty { path: path.to_owned() });
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|source| TlsError::Key { path: path.to_owned(), source })
}

/// What a TLS failure means, and how to mend it. A broker that refuses our certificate says so only
/// after the handshake: a broken read may be one, too.
pub(crate) fn explain(error: &io::Error) -> Option<&'static str> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(problem) => Some(explain_certificate(problem)),
        rustls::Error::AlertReceived(alert) => explain_alert(*alert),
        rustls::Error::InvalidMessage(_) => {
            Some("the port does not speak TLS: is it the broker's plain one (mqtt://, 1883)?")
        }
        _ => None,
    }
}

/// What kind of trouble a TLS failure is; `None` where it is none of TLS.
pub(crate) fn trouble(error: &io::Error) -> Option<Trouble> {
    use CertificateError as Certificate;
    let expired = match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::InvalidCertificate(problem) => {
            matches!(problem, Certificate::Expired | Certificate::ExpiredContext { .. })
        }
        rustls::Error::AlertReceived(alert) => *alert == AlertDescription::CertificateExpired,
        _ => false,
    };
    Some(if expired { Trouble::TlsExpired } else { Trouble::TlsRefused })
}

fn explain_certificate(problem: &CertificateError) -> &'static str {
    match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the broker's certificate has expired: renew it"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the broker's certificate is not valid yet: compare the clocks"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the broker's certificate is for another host name: use the name that it is for, or \
             have it issued for this one"
        }
        // A new authority under the name of the old one has another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the broker's certificate is signed by an authority that is not trusted: name the \
             right one (caSecretRef, ca.crt)"
        }
        CertificateError::Revoked => "the broker's certificate is revoked: renew it",
        _ => "the broker's certificate is not accepted",
    }
}

fn explain_alert(alert: AlertDescription) -> Option<&'static str> {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired => Some(
            "the broker asks for a client certificate: give one (clientCertSecretRef, tls.crt and \
             tls.key)",
        ),
        Alert::CertificateExpired => {
            Some("the client certificate has expired: renew it (clientCertSecretRef)")
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::DecryptError => {
            Some("the broker does not accept the client certificate (clientCertSecretRef)")
        }
        _ => None,
    }
}
