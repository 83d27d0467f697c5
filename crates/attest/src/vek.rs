//! The certificate of the key that signs reports: VCEK (one chip) or VLEK (one cloud provider).
//!
//! Extensions: AMD document 57230, *Versioned Chip Endorsement Key Certificate and KDS Interface*.

use aws_lc_rs::signature::ParsedPublicKey;
use der::Decode;
use der::asn1::{AnyRef, Ia5StringRef, ObjectIdentifier, OctetStringRef};

use crate::certificate::Certificate;
use crate::collateral::VekRequest;
use crate::product::{Product, Tcb};
use crate::time::Timestamp;

/// All of AMD's extensions stand below this arc.
const ARC: &str = "1.3.6.1.4.1.3704.1";
const STRUCT_VERSION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.1");
const PRODUCT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.2");
const SPL_BOOTLOADER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.1");
const SPL_TEE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.2");
const SPL_SNP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.3");
const SPL_MICROCODE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.8");
const SPL_FMC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.3.9");
const HWID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.4");
const CSP_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.3704.1.5");

/// Everything a VEK certificate says that a check asks for.
pub(crate) struct Vek {
    pub(crate) version: u64,
    pub(crate) pss_sha384: bool,
    pub(crate) key: Option<ParsedPublicKey>,
    pub(crate) common_name: Option<String>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) repeated_extension: Option<ObjectIdentifier>,
    pub(crate) unknown_critical: Option<ObjectIdentifier>,
    pub(crate) struct_version: Option<u64>,
    pub(crate) product_name: Option<String>,
    pub(crate) bootloader: Option<u8>,
    pub(crate) tee: Option<u8>,
    pub(crate) snp: Option<u8>,
    pub(crate) microcode: Option<u8>,
    pub(crate) fmc: Spl,
    pub(crate) hwid: Option<Vec<u8>>,
    pub(crate) csp_id: Option<String>,
    pub(crate) signed: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

/// An extension that only some products have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spl {
    Absent,
    Malformed,
    Is(u8),
}

impl Vek {
    /// Reads a certificate; `Err` is about DER only, what it says is judged later.
    pub(crate) fn parse(der: &[u8]) -> der::Result<Self> {
        let certificate = Certificate::parse(der)?;
        let number = |oid| certificate.extension(oid).and_then(integer);
        let part = |oid| number(oid).and_then(|value| u8::try_from(value).ok());
        Ok(Self {
            version: certificate.version,
            pss_sha384: certificate.pss_sha384,
            key: match certificate.key {
                point @ crate::certificate::KeyBytes::P384(_) => point.parse(),
                _ => None,
            },
            common_name: certificate.common_name.clone(),
            issuer: certificate.issuer.to_vec(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            repeated_extension: certificate.repeated_extension(),
            unknown_critical: certificate
                .extensions
                .iter()
                .find(|extension| extension.critical && !is_amd(extension.oid))
                .map(|extension| extension.oid),
            struct_version: number(STRUCT_VERSION),
            product_name: certificate.extension(PRODUCT_NAME).and_then(ia5),
            bootloader: part(SPL_BOOTLOADER),
            tee: part(SPL_TEE),
            snp: part(SPL_SNP),
            microcode: part(SPL_MICROCODE),
            fmc: match (certificate.extension(SPL_FMC), part(SPL_FMC)) {
                (None, _) => Spl::Absent,
                (Some(_), None) => Spl::Malformed,
                (Some(_), Some(value)) => Spl::Is(value),
            },
            hwid: certificate.extension(HWID).map(hwid),
            csp_id: certificate.extension(CSP_ID).and_then(ia5),
            signed: certificate.signed.to_vec(),
            signature: certificate.signature.to_vec(),
        })
    }

    /// The product name without the stepping some certificates add (`Milan-B0`).
    pub(crate) fn product_line(&self) -> Option<&str> {
        self.product_name
            .as_deref()
            .map(|name| name.split('-').next().unwrap_or(name))
    }
}

/// What a VEK certificate says about the chip it belongs to, before anything of it is verified.
///
/// For tools that look up collateral; [`crate::verify`] compares all of it itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VekFacts {
    /// Product name as it stands in the certificate.
    pub product_name: String,
    /// Firmware the key was derived for.
    pub tcb: Tcb,
    /// Identity of the chip; absent from a VLEK.
    pub hwid: Option<Vec<u8>>,
    /// First moment of validity.
    pub not_before: Timestamp,
    /// Last moment of validity.
    pub not_after: Timestamp,
}

impl VekFacts {
    /// Reads a VCEK or VLEK certificate; `None` when it is not one.
    pub fn read(der: &[u8]) -> Option<Self> {
        let vek = Vek::parse(der).ok()?;
        let product_name = vek.product_name?;
        Some(Self {
            product_name,
            tcb: Tcb {
                fmc: match vek.fmc {
                    Spl::Is(value) => Some(value),
                    Spl::Absent => None,
                    Spl::Malformed => return None,
                },
                bootloader: vek.bootloader?,
                tee: vek.tee?,
                snp: vek.snp?,
                microcode: vek.microcode?,
            },
            hwid: vek.hwid,
            not_before: vek.not_before,
            not_after: vek.not_after,
        })
    }

    /// Whether this is what was asked for. Nothing of it is verified.
    pub fn is_of(&self, request: &VekRequest) -> bool {
        self.product() == Some(request.product)
            && self.tcb == request.tcb
            && self.hwid.as_deref() == Some(request.hwid.as_slice())
    }

    /// The product line the name belongs to.
    pub fn product(&self) -> Option<Product> {
        Product::parse(self.product_name.split('-').next()?)
    }
}

fn is_amd(oid: ObjectIdentifier) -> bool {
    oid.to_string()
        .strip_prefix(ARC)
        .is_some_and(|rest| rest.starts_with('.'))
}

fn integer(value: &[u8]) -> Option<u64> {
    u64::from_der(value).ok()
}

fn ia5(value: &[u8]) -> Option<String> {
    AnyRef::from_der(value)
        .ok()?
        .decode_as::<Ia5StringRef<'_>>()
        .ok()
        .map(|text| text.as_str().into())
}

/// The chip's identity: raw bytes, or wrapped as an OCTET STRING in older certificates.
fn hwid(value: &[u8]) -> Vec<u8> {
    match (value.len(), <&OctetStringRef>::from_der(value)) {
        (10 | 66, Ok(inner)) => inner.as_bytes().to_vec(),
        _ => value.to_vec(),
    }
}
