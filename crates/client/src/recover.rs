//! Recovery: the share of one owner goes to an attested Coordinator.

use nacre_api::method::RECOVER;
use nacre_api::{recover_digest, v1};
use nacre_manifest::TransitionHash;
use nacre_pki::{PkiError, Salt, Seed, SeedShares, Share, SharesError};
use zeroize::Zeroizing;

use crate::error::ClientError;
use crate::keys::SeedshareKey;
use crate::session::{Session, patient};
use crate::snapshot::AnswerError;

/// What came of sending a share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoverOutcome {
    /// Whether the Coordinator works again.
    pub recovered: bool,
    /// Number of the head.
    pub generation: u64,
    /// The head.
    pub transition: TransitionHash,
    /// Indices of shares that have arrived.
    pub received: Vec<u32>,
    /// How many it takes.
    pub needed: u32,
}

/// A share that was decrypted and fits its document.
pub struct OpenedShare {
    share: Share,
    threshold: u8,
    seed: Option<Seed>,
}

impl std::fmt::Debug for OpenedShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (index, threshold) = (self.index(), self.threshold);
        write!(f, "OpenedShare({index}, {threshold} recover)")
    }
}

impl OpenedShare {
    /// Decrypts the owner's share and compares it with its commitment.
    pub fn open(document: &SeedShares, key: &SeedshareKey) -> Result<Self, SharesError> {
        let share = document.open(key.pkcs8())?;
        let threshold = document.threshold();
        let seed = match threshold {
            1 => Some(document.join(std::slice::from_ref(&share))?),
            _ => None,
        };
        Ok(Self {
            share,
            threshold,
            seed,
        })
    }

    /// Its index, 1 to 255.
    pub fn index(&self) -> u8 {
        self.share.index()
    }

    /// How many shares recover the seed.
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// The root CA's public key (DER) that the seed gives with this salt. `None` when the share is not the
    /// whole seed: then only the Coordinator can say.
    pub fn root_spki(&self, salt: &[u8; 32]) -> Option<Result<Vec<u8>, PkiError>> {
        let seed = self.seed.as_ref()?;
        let key = seed.root_ca_key(&Salt::from_bytes(*salt));
        Some(key.map(|key| key.spki().to_vec()))
    }

    /// The value, without its index.
    fn value(&self) -> Zeroizing<Vec<u8>> {
        let bytes = self.share.to_bytes();
        Zeroizing::new(bytes.get(1..).unwrap_or_default().to_vec())
    }
}

impl Session {
    /// Sends a share. `expected` is the newest transition known: the Coordinator refuses a history that does
    /// not contain it.
    pub async fn recover(
        &mut self,
        expected: TransitionHash,
        share: &OpenedShare,
        key: &SeedshareKey,
        dry_run: bool,
    ) -> Result<RecoverOutcome, ClientError> {
        let mut request = v1::RecoverRequest {
            expected: expected.as_bytes().to_vec(),
            share: share.value().to_vec(),
            index: share.index().into(),
            dry_run,
            signature: None,
        };
        let digest = recover_digest(&request);
        let message = self.link().owner_request(RECOVER, &digest);
        request.signature = Some(v1::Signature {
            spki: key.spki().to_vec(),
            signature: key.sign_pss(&message)?,
        });
        let answer = patient("recover", self.user().recover(request)).await?;
        let answer = answer.into_inner();
        let transition = TransitionHash::try_from(answer.transition.as_slice()).map_err(|_| {
            AnswerError::Malformed {
                what: "the hash of the transition",
            }
        })?;
        Ok(RecoverOutcome {
            recovered: answer.recovered,
            generation: answer.generation,
            transition,
            received: answer.received,
            needed: answer.needed,
        })
    }
}
