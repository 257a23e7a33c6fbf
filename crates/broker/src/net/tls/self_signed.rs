//! Certificates made at the start for those who have none: an authority that lives as long as the broker, and a
//! certificate of it for the names by which this broker is reached.

use super::store::Own;
use crate::base::start::StartError;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

/// An authority's word for a certificate of ours.
pub struct SelfSigned {
    authority: String,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

impl SelfSigned {
    /// Makes both, for these hosts beside the names of loopback.
    pub fn new(hosts: &[String]) -> Result<SelfSigned, StartError> {
        make(hosts).map_err(|error| StartError::new(format!("cannot make a certificate: {error}")))
    }

    /// The authority's certificate in PEM, for clients to trust.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The broker's own, with its key.
    pub fn own(&self) -> Own {
        Own {
            chain: vec![self.certificate.clone()],
            key: PrivatePkcs8KeyDer::from(self.key.clone()).into(),
        }
    }
}

fn make(hosts: &[String]) -> Result<SelfSigned, rcgen::Error> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Without these the strict checks of newer clients refuse it (RFC 5280).
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let name = &mut authority.distinguished_name;
    name.push(DnType::CommonName, "Rustka self-signed authority");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let mut names = ["localhost", "127.0.0.1", "::1"]
        .map(str::to_owned)
        .to_vec();
    names.extend(hosts.iter().filter(|host| !host.is_empty()).cloned());
    names.dedup();
    let mut own = CertificateParams::new(names)?;
    own.distinguished_name.push(DnType::CommonName, "rustka");
    own.use_authority_key_identifier_extension = true;
    own.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    own.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = own.signed_by(&key, &authority)?;
    Ok(SelfSigned {
        authority: authority.pem(),
        certificate: certificate.der().clone(),
        key: key.serialize_der(),
    })
}
