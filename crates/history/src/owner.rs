//! Keys of workload owners and what they sign.

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1,
    ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, KeyPair as _,
    UnparsedPublicKey,
};
use nacre_manifest::KeyDigest;
use zeroize::Zeroizing;

use crate::error::FormatError;

/// Most bytes of a DER-encoded public key; P-521 has 158.
pub(crate) const MAX_SPKI: usize = 158;
/// Most bytes of a DER-encoded signature; P-521 has up to 139.
pub(crate) const MAX_SIGNATURE: usize = 139;

/// Curve of an owner's key. Each has its hash, so that `openssl dgst -<hash> -sign` makes the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Curve {
    /// P-256 with SHA-256.
    P256,
    /// P-384 with SHA-384; what `nacre init` makes.
    P384,
    /// P-521 with SHA-512.
    P521,
}

impl Curve {
    const ALL: [Self; 3] = [Self::P384, Self::P256, Self::P521];

    /// Curve and point of a DER-encoded `SubjectPublicKeyInfo`.
    fn of_spki(spki: &[u8]) -> Result<(Self, &[u8]), FormatError> {
        // Checks every byte but the coordinates; the length then tells the curves apart.
        KeyDigest::from_spki(spki).map_err(|_| FormatError::Key)?;
        let (curve, point) = match spki.len() {
            91 => (Self::P256, 65),
            120 => (Self::P384, 97),
            158 => (Self::P521, 133),
            _ => return Err(FormatError::Key),
        };
        let start = spki.len().saturating_sub(point);
        Ok((curve, spki.get(start..).ok_or(FormatError::Key)?))
    }

    const fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::P384 => &ECDSA_P384_SHA384_ASN1,
            Self::P521 => &ECDSA_P521_SHA512_ASN1,
        }
    }

    const fn signing(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        }
    }

    /// Name of the hash for `openssl dgst`.
    pub const fn hash_name(self) -> &'static str {
        match self {
            Self::P256 => "sha256",
            Self::P384 => "sha384",
            Self::P521 => "sha512",
        }
    }
}

/// One owner's signature. It is not checked before [`OwnerSignature::verify`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerSignature {
    spki: Vec<u8>,
    signature: Vec<u8>,
    digest: KeyDigest,
    curve: Curve,
}

impl OwnerSignature {
    /// From a DER-encoded `SubjectPublicKeyInfo` and a DER-encoded `ECDSA-Sig-Value`, as an HSM or
    /// `openssl dgst -sign` gives it.
    pub fn new(spki: &[u8], signature: &[u8]) -> Result<Self, FormatError> {
        if signature.is_empty() || signature.len() > MAX_SIGNATURE {
            return Err(FormatError::PartLength {
                length: signature.len(),
                most: MAX_SIGNATURE,
            });
        }
        let (curve, _) = Curve::of_spki(spki)?;
        Ok(Self {
            spki: spki.to_vec(),
            signature: signature.to_vec(),
            digest: KeyDigest::of_spki(spki),
            curve,
        })
    }

    /// Whose it says it is.
    pub fn key(&self) -> KeyDigest {
        self.digest
    }

    /// The curve of the key.
    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// DER of the public key.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// DER of the signature.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Whether the key made this signature over the message.
    pub fn verify(&self, message: &[u8]) -> bool {
        verify(&self.spki, message, &self.signature)
    }
}

/// Whether a key on one of the three curves made an ECDSA signature with the hash of its curve.
pub(crate) fn verify(spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
    Curve::of_spki(spki).is_ok_and(|(curve, point)| {
        UnparsedPublicKey::new(curve.verification(), point)
            .verify(message, signature)
            .is_ok()
    })
}

/// An owner's private key. The library clears it when dropped.
pub struct OwnerKeyPair {
    key: EcdsaKeyPair,
    curve: Curve,
    spki: Vec<u8>,
}

impl OwnerKeyPair {
    /// From PKCS#8 or SEC1 DER on P-256, P-384 or P-521; `None` when it is neither.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        Curve::ALL.into_iter().find_map(|curve| {
            let key = EcdsaKeyPair::from_private_key_der(curve.signing(), der).ok()?;
            Self::new(key, curve).ok()
        })
    }

    /// A new key on P-384.
    pub fn generate() -> Result<Self, Unspecified> {
        Self::generate_on(Curve::P384)
    }

    /// A new key on the curve.
    pub fn generate_on(curve: Curve) -> Result<Self, Unspecified> {
        Self::new(EcdsaKeyPair::generate(curve.signing())?, curve)
    }

    fn new(key: EcdsaKeyPair, curve: Curve) -> Result<Self, Unspecified> {
        let public: PublicKeyX509Der<'_> = key.public_key().as_der()?;
        let spki = public.as_ref().to_vec();
        Ok(Self { key, curve, spki })
    }

    /// The private key as PKCS#8 DER: a secret.
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
        let document = self.key.to_pkcs8v1()?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// The curve of the key.
    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// DER of the public key.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The digest under which a manifest lists the key.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of_spki(&self.spki)
    }

    /// Signs a message such as [`crate::Transition::message`].
    pub fn sign(&self, message: &[u8]) -> Result<OwnerSignature, Unspecified> {
        let signature = self.key.sign(&SystemRandom::new(), message)?;
        OwnerSignature::new(&self.spki, signature.as_ref()).map_err(|_| Unspecified)
    }
}

impl std::fmt::Debug for OwnerKeyPair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OwnerKeyPair({}, private part hidden)", self.digest())
    }
}
