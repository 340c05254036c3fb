//! The trust anchor of one bottle: minted in memory, never on the host's disk.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use crate::ids::{Fingerprint, Secret};

const VALID_FOR: Duration = Duration::days(7);
const CLOCK_SKEW: Duration = Duration::hours(1);

/// Minting failed; nothing was created.
#[derive(Debug, thiserror::Error)]
#[error("mint the certificate authority of {common_name:?}")]
pub struct CaError {
    common_name: String,
    #[source]
    source: rcgen::Error,
}

/// A P-256 certificate authority whose key never leaves this value except for the interceptor's stdin.
#[derive(Clone, Debug)]
pub struct BottleCa {
    certificate_pem: String,
    private_key_pem: Secret<String>,
    fingerprint: Fingerprint,
}

impl BottleCa {
    /// Mints a new authority, valid from one hour before `now` for seven days from `now`.
    ///
    /// Its key identifier is the SHA-1 of the public key: mitmproxy before 12.3 writes that one into the
    /// leaves whatever the authority says, and OpenSSL then finds no issuer if they differ.
    ///
    /// # Errors
    /// [`CaError`] if the common name cannot be encoded or the system has no randomness.
    pub fn mint(common_name: &str, now: OffsetDateTime) -> Result<Self, CaError> {
        let failed = |source| CaError { common_name: common_name.to_owned(), source };
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = now - CLOCK_SKEW;
        params.not_after = now + VALID_FOR;
        params.key_identifier_method = KeyIdMethod::PreSpecified(Sha1::digest(key.public_key_raw()).to_vec());
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self {
            fingerprint: fingerprint_of(certificate.der()),
            certificate_pem: certificate.pem(),
            private_key_pem: Secret::new(key.serialize_pem()),
        })
    }

    /// The certificate, for the agent's trust store.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The private key in PKCS#8 PEM, for the interceptor's standard input only.
    pub fn private_key_pem(&self) -> &Secret<String> {
        &self.private_key_pem
    }

    /// SHA-256 of the certificate: upper-case hex pairs joined by colons.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }
}

fn fingerprint_of(der: &[u8]) -> Fingerprint {
    let pairs: Vec<String> = Sha256::digest(der).iter().map(|byte| format!("{byte:02X}")).collect();
    Fingerprint::new(pairs.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minted() -> BottleCa {
        BottleCa::mint("bottle demo", OffsetDateTime::now_utc()).expect("mints")
    }

    #[test]
    fn two_authorities_share_nothing() {
        let (one, two) = (minted(), minted());
        assert_ne!(one.fingerprint(), two.fingerprint());
        assert_ne!(one.private_key_pem(), two.private_key_pem());
    }

    #[test]
    fn fingerprint_is_upper_case_pairs() {
        let ca = minted();
        let pairs: Vec<&str> = ca.fingerprint().as_str().split(':').collect();
        assert_eq!(pairs.len(), 32);
        assert!(pairs.iter().all(|p| p.len() == 2 && !p.bytes().any(|b| b.is_ascii_lowercase())));
    }

    #[test]
    fn debug_output_hides_the_key() {
        let ca = minted();
        assert!(ca.private_key_pem().expose_secret().contains("PRIVATE KEY"));
        assert!(!format!("{ca:?}").contains("PRIVATE KEY"));
    }

    #[test]
    fn key_identifier_is_the_sha1_of_the_public_key() {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let ca = minted();
        let key = KeyPair::from_pem(ca.private_key_pem().expose_secret()).expect("own key");
        let body: String = ca.certificate_pem().lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(body).expect("own certificate");
        let identifier = Sha1::digest(key.public_key_raw());
        assert!(der.windows(identifier.len()).any(|window| window == identifier.as_slice()));
    }
}
