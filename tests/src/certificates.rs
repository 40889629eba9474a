//! Certificates made for one test.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use crate::Directory;

/// A certificate authority of one's own; its files live as long as it does.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ca: PathBuf,
    directory: Directory,
}

/// PEM files.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The chain.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Authority {
    /// A fresh one.
    pub fn new() -> Self {
        let directory = Directory::new("certificates");
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "RouteMQ test authority");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let ca = directory.write("ca.crt", certificate.pem());
        Self { issuer: Issuer::new(params, key), ca, directory }
    }

    /// Its own certificate, PEM.
    pub fn ca(&self) -> PathBuf {
        self.ca.clone()
    }

    /// A certificate for `name` (file name and common name), valid for the hosts `names`.
    pub fn issue(&self, name: &str, names: &[&str]) -> Certificate {
        self.sign(name, &params(name, names))
    }

    /// The same, and its time has passed.
    pub fn issue_expired(&self, name: &str, names: &[&str]) -> Certificate {
        let mut params = params(name, names);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(name, &params)
    }

    fn sign(&self, name: &str, params: &CertificateParams) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Certificate {
            certificate: self.directory.write(&format!("{name}.crt"), certificate.pem()),
            key: self.directory.write(&format!("{name}.key"), key.serialize_pem()),
        }
    }
}

fn params(name: &str, names: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = names.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
