//! One step of a history: from one manifest to the next.

use nacre_manifest::{Manifest, ManifestHash, PoliciesDigest, TransitionHash};

use crate::error::FormatError;
use crate::frame::Reader;
use crate::owner::OwnerSignature;
use crate::signed::{Body, Signed};

/// A transition with its owners' signatures.
pub type SignedTransition = Signed<Transition>;

/// One step. Encoding, 113 bytes: version 1, generation (u64), previous transition (32), manifest (32),
/// policies digest (32), time of signing (u64, Unix seconds); numbers are big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transition {
    /// 1 for the first, then one more each time.
    pub generation: u64,
    /// The transition before; [`TransitionHash::NONE`] for the first.
    pub previous: TransitionHash,
    /// The manifest that comes into force, by the hash of its bytes.
    pub manifest: ManifestHash,
    /// The policies it lists.
    pub policies: PoliciesDigest,
    /// When the owner signed by the owner's clock, Unix seconds; never less than that of the one before.
    pub signed_at: u64,
}

impl Transition {
    /// Bytes of the encoding.
    pub const LEN: usize = 113;

    /// The first transition. `manifest` is what the bytes with hash `hash` read as; `now` is Unix seconds.
    pub fn genesis(manifest: &Manifest, hash: ManifestHash, now: u64) -> Self {
        Self {
            generation: 1,
            previous: TransitionHash::NONE,
            manifest: hash,
            policies: PoliciesDigest::of(manifest.policies.keys()),
            signed_at: now,
        }
    }

    /// The transition behind this one. When the clock says less than this one does, the time stands still.
    pub fn next(&self, manifest: &Manifest, hash: ManifestHash, now: u64) -> Self {
        Self {
            generation: self.generation.saturating_add(1),
            previous: self.hash(),
            manifest: hash,
            policies: PoliciesDigest::of(manifest.policies.keys()),
            signed_at: now.max(self.signed_at),
        }
    }

    /// The encoding.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let parts: [&[u8]; 6] = [
            &[1],
            &self.generation.to_be_bytes(),
            self.previous.as_bytes(),
            self.manifest.as_bytes(),
            self.policies.as_bytes(),
            &self.signed_at.to_be_bytes(),
        ];
        bytes
            .iter_mut()
            .zip(parts.into_iter().flatten())
            .for_each(|(to, from)| *to = *from);
        bytes
    }

    /// Reads what [`Transition::to_bytes`] wrote, and nothing else.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let transition = Self::read(&mut reader)?;
        reader.end()?;
        Ok(transition)
    }

    /// SHA-256 of the encoding: the identity of the transition, whoever signs it.
    pub fn hash(&self) -> TransitionHash {
        TransitionHash::of(&self.to_bytes())
    }

    /// What owners sign: the framed `nacre/v1/transition`, then the encoding.
    pub fn message(&self) -> Vec<u8> {
        Body::message(self)
    }

    /// Whether this is a first transition.
    pub fn is_genesis(&self) -> bool {
        self.previous.is_none()
    }

    /// With signatures.
    pub fn signed(self, signatures: Vec<OwnerSignature>) -> Result<SignedTransition, FormatError> {
        Signed::new(self, signatures)
    }
}

impl Body for Transition {
    const DOMAIN: &'static [u8] = b"nacre/v1/transition";

    fn encode(&self) -> Vec<u8> {
        self.to_bytes().to_vec()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        reader.version()?;
        let transition = Self {
            generation: reader.u64()?,
            previous: TransitionHash::from_bytes(reader.array()?),
            manifest: ManifestHash::from_bytes(reader.array()?),
            policies: PoliciesDigest::from_bytes(reader.array()?),
            signed_at: reader.u64()?,
        };
        let generation = transition.generation;
        if generation == 0 || (generation == 1) != transition.is_genesis() {
            return Err(FormatError::Generation { generation });
        }
        Ok(transition)
    }
}
