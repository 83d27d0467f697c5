//! AMD's root (ARK) and intermediate keys (ASK for VCEKs, ASVK for VLEKs), compiled in and pinned.
//!
//! Nothing a peer sends ever enters this set. The certificates are those AMD publishes per product at
//! `https://kdsintf.amd.com/{vcek,vlek}/v1/<product>/cert_chain`.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::ParsedPublicKey;

use crate::certificate::{Certificate, KeyBytes};
use crate::product::Product;
use crate::time::Timestamp;

/// The authorities that evidence is traced to.
#[derive(Debug)]
pub struct Roots {
    products: Vec<(Product, ProductRoots)>,
}

impl Roots {
    /// AMD's.
    pub fn amd() -> &'static Self {
        static AMD: LazyLock<Roots> = LazyLock::new(|| Roots {
            products: AMD_FILES
                .iter()
                .filter_map(|files| Some((files.product, files.load()?)))
                .collect(),
        });
        &AMD
    }

    pub(crate) fn product(&self, product: Product) -> Option<&ProductRoots> {
        self.products
            .iter()
            .find(|(of, _)| *of == product)
            .map(|(_, roots)| roots)
    }

    /// SHA-256 of the ARK certificate of a product, in hex.
    pub fn ark_digest(&self, product: Product) -> Option<String> {
        self.product(product)
            .map(|roots| hex::encode(roots.ark.sha256))
    }

    #[cfg(feature = "danger-other-roots")]
    pub(crate) fn of(products: Vec<(Product, ProductRoots)>) -> Self {
        Self { products }
    }
}

/// The three authorities of one product.
#[derive(Debug)]
pub(crate) struct ProductRoots {
    pub(crate) ark: Authority,
    pub(crate) ask: Authority,
    pub(crate) asvk: Authority,
}

impl ProductRoots {
    /// Reads the certificates and verifies who signed whom, once per process.
    pub(crate) fn load(ark: Pinned<'_>, ask: Pinned<'_>, asvk: Pinned<'_>) -> Option<Self> {
        let mut ark = Authority::load(ark)?;
        let mut ask = Authority::load(ask)?;
        let mut asvk = Authority::load(asvk)?;
        for authority in [&mut ask, &mut asvk] {
            authority.signed_by_ark = authority.is_signed_by(&ark);
        }
        ark.signed_by_ark = ark.is_signed_by(&ark);
        Some(Self { ark, ask, asvk })
    }
}

/// A certificate and the digest it has to have.
#[derive(Clone, Copy)]
pub(crate) struct Pinned<'a> {
    pub(crate) der: &'a [u8],
    pub(crate) sha256: [u8; 32],
}

/// A key that signs certificates or revocation lists.
#[derive(Debug)]
pub(crate) struct Authority {
    pub(crate) sha256: [u8; 32],
    pub(crate) pinned: bool,
    pub(crate) signed_by_ark: bool,
    pub(crate) subject: Vec<u8>,
    pub(crate) common_name: String,
    pub(crate) serial: Vec<u8>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    issuer: Vec<u8>,
    key: ParsedPublicKey,
    pss_sha384: bool,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

impl Authority {
    fn load(pinned: Pinned<'_>) -> Option<Self> {
        let certificate = Certificate::parse(pinned.der).ok()?;
        let key @ KeyBytes::Rsa(_) = certificate.key else {
            return None;
        };
        let sha256 = sha256(pinned.der);
        Some(Self {
            sha256,
            pinned: sha256 == pinned.sha256,
            signed_by_ark: false,
            subject: certificate.subject.to_vec(),
            common_name: certificate.common_name.clone()?,
            serial: certificate.serial.to_vec(),
            not_before: certificate.not_before,
            not_after: certificate.not_after,
            issuer: certificate.issuer.to_vec(),
            key: key.parse()?,
            pss_sha384: certificate.pss_sha384,
            signed: certificate.signed.to_vec(),
            signature: certificate.signature.to_vec(),
        })
    }

    fn is_signed_by(&self, issuer: &Self) -> bool {
        self.pss_sha384
            && self.issuer == issuer.subject
            && issuer.verifies(&self.signed, &self.signature)
    }

    /// Whether this key made an RSASSA-PSS signature with SHA-384.
    pub(crate) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(signed, signature).is_ok()
    }

    pub(crate) fn valid_at(&self, now: Timestamp) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest(&SHA256, bytes).as_ref()) {
        *to = *from;
    }
    out
}

struct AmdFiles {
    product: Product,
    /// ASK, ARK, ASVK, in this order.
    pem: &'static str,
    /// SHA-256 of the DER in the same order.
    pins: [&'static str; 3],
}

const AMD_FILES: [AmdFiles; 3] = [
    AmdFiles {
        product: Product::Milan,
        pem: include_str!("../data/roots/milan_ask_ark_asvk.pem"),
        pins: [
            "67d303bd3905fd38db8b20e0793699870e7fa612eaad5dec358293fd8c0bac1b",
            "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
            "c5e081f59b7efab1fe2f8b505e159704e72f29cab7ef7cf628a05a42439082f5",
        ],
    },
    AmdFiles {
        product: Product::Genoa,
        pem: include_str!("../data/roots/genoa_ask_ark_asvk.pem"),
        pins: [
            "5464738c1546aed5f2cecf1dc98c5c960a92e8913238a61711bc90ec6e828521",
            "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
            "197e610743a917d6b9bb982a5a9226ccc0a15b611be0619e626aca9151457372",
        ],
    },
    AmdFiles {
        product: Product::Turin,
        pem: include_str!("../data/roots/turin_ask_ark_asvk.pem"),
        pins: [
            "5b77ef5fe7a7a004fd9032668fba9d0fda22f88c4442069a479636a6ae3b3185",
            "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
            "104e10a8bd060a3c20a434261a57d0588fd65a88915b4f65b08bdecaf8df1a3c",
        ],
    },
];

impl AmdFiles {
    fn load(&self) -> Option<ProductRoots> {
        let certificates = pem_bodies(self.pem)?;
        let [ask, ark, asvk] = certificates.as_slice() else {
            return None;
        };
        let [ask_pin, ark_pin, asvk_pin] = self.pins.map(digest_from_hex);
        ProductRoots::load(
            Pinned {
                der: ark,
                sha256: ark_pin?,
            },
            Pinned {
                der: ask,
                sha256: ask_pin?,
            },
            Pinned {
                der: asvk,
                sha256: asvk_pin?,
            },
        )
    }
}

fn digest_from_hex(text: &str) -> Option<[u8; 32]> {
    hex::decode(text).ok()?.try_into().ok()
}

/// The DER of every certificate in a PEM text.
pub(crate) fn pem_bodies(pem: &str) -> Option<Vec<Vec<u8>>> {
    use base64::Engine as _;
    pem.split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .map(|rest| {
            let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
            let joined: String = body.split_whitespace().collect();
            base64::engine::general_purpose::STANDARD
                .decode(joined)
                .ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_root_is_the_pinned_one_and_signed_by_its_ark() {
        let roots = Roots::amd();
        for product in Product::ALL {
            let product = roots.product(product).unwrap();
            for authority in [&product.ark, &product.ask, &product.asvk] {
                assert!(authority.pinned, "{}", authority.common_name);
                assert!(authority.signed_by_ark, "{}", authority.common_name);
            }
        }
    }

    #[test]
    fn names_are_those_of_the_product() {
        for product in Product::ALL {
            let roots = Roots::amd().product(product).unwrap();
            assert_eq!(roots.ark.common_name, format!("ARK-{product}"));
            assert_eq!(roots.ask.common_name, format!("SEV-{product}"));
            assert_eq!(roots.asvk.common_name, format!("SEV-VLEK-{product}"));
        }
    }

    #[test]
    fn another_pin_or_another_signer_is_seen() {
        let certificates = pem_bodies(AMD_FILES[0].pem).unwrap();
        let [ask, ark, asvk] = certificates.as_slice() else {
            panic!()
        };
        let pinned = |der| Pinned {
            der,
            sha256: sha256(der),
        };
        let wrong = Pinned {
            der: ark,
            sha256: [0; 32],
        };
        assert!(
            !ProductRoots::load(wrong, pinned(ask), pinned(asvk))
                .unwrap()
                .ark
                .pinned
        );
        let swapped = ProductRoots::load(pinned(ask), pinned(ark), pinned(asvk)).unwrap();
        assert!(!swapped.ask.signed_by_ark && !swapped.asvk.signed_by_ark);
    }
}
