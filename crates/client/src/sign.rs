//! Approvals that are made somewhere else than they are used: by an HSM, or by an owner without a network.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nacre_history::{Body, Confirmation, OwnerSignature, Transition};
use serde::{Deserialize, Serialize};

/// What an approval file says it is.
pub const FORMAT: &str = "nacre.dev/approval/v1";
/// Longest approval or prepared file that is read, in bytes.
pub const MAX_APPROVAL: usize = 64 * 1024;

/// A transition and one owner's signature over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// What was signed.
    pub transition: Transition,
    /// By whom.
    pub signature: OwnerSignature,
}

/// Why a file is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApprovalError {
    /// Neither form.
    #[error("it is neither a prepared file nor an approval")]
    Form,
    /// Not JSON of this form.
    #[error("it is not readable")]
    Syntax(#[source] serde_json::Error),
    /// Of another format.
    #[error("its format is {found:?}, this program reads {FORMAT:?}")]
    Format {
        /// As written.
        found: String,
    },
    /// A field that is not what it should be.
    #[error("{field} is malformed")]
    Field {
        /// Which.
        field: &'static str,
    },
    /// The signature does not hold.
    #[error("its signature does not hold")]
    Signature,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    format: String,
    /// For people.
    generation: u64,
    transition: String,
    public_key: String,
    signature: String,
}

impl Approval {
    /// A signature that was made by somebody else, checked.
    pub fn new(
        transition: Transition,
        spki: &[u8],
        signature: &[u8],
    ) -> Result<Self, ApprovalError> {
        let signature = OwnerSignature::new(spki, signature)
            .map_err(|_| ApprovalError::Field { field: "signature" })?;
        match signature.verify(&transition.message()) {
            true => Ok(Self {
                transition,
                signature,
            }),
            false => Err(ApprovalError::Signature),
        }
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let file = File {
            format: FORMAT.to_owned(),
            generation: self.transition.generation,
            transition: hex::encode(self.transition.to_bytes()),
            public_key: STANDARD.encode(self.signature.spki()),
            signature: STANDARD.encode(self.signature.signature()),
        };
        // Strings and numbers always become JSON.
        let mut bytes = serde_json::to_vec_pretty(&file).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Reads what [`Approval::to_bytes`] wrote, and checks the signature.
    pub fn parse(bytes: &[u8]) -> Result<Self, ApprovalError> {
        let file: File = serde_json::from_slice(bytes).map_err(ApprovalError::Syntax)?;
        if file.format != FORMAT {
            let found = file.format.chars().take(80).collect();
            return Err(ApprovalError::Format { found });
        }
        let field = |field| ApprovalError::Field { field };
        let transition = hex::decode(&file.transition).map_err(|_| field("transition"))?;
        let transition = Transition::parse(&transition).map_err(|_| field("transition"))?;
        let spki = STANDARD
            .decode(&file.public_key)
            .map_err(|_| field("publicKey"))?;
        let signature = STANDARD
            .decode(&file.signature)
            .map_err(|_| field("signature"))?;
        if transition.generation != file.generation {
            return Err(field("generation"));
        }
        Self::new(transition, &spki, &signature)
    }
}

/// The transition of a prepared file, which holds what owners sign and nothing else.
pub fn prepared_transition(message: &[u8]) -> Result<Transition, ApprovalError> {
    prepared(message, Transition::LEN, |bytes| {
        Transition::parse(bytes).ok()
    })
}

/// The confirmation of a prepared file.
pub fn prepared_confirmation(message: &[u8]) -> Result<Confirmation, ApprovalError> {
    let domain = 4 + Confirmation::DOMAIN.len();
    let length = message.len().saturating_sub(domain);
    prepared(message, length, |bytes| Confirmation::parse(bytes).ok())
}

/// Reads the last `length` bytes, and compares the whole with what would be signed.
fn prepared<B: Body>(
    message: &[u8],
    length: usize,
    parse: impl FnOnce(&[u8]) -> Option<B>,
) -> Result<B, ApprovalError> {
    let start = message
        .len()
        .checked_sub(length)
        .ok_or(ApprovalError::Form)?;
    let body = message
        .get(start..)
        .and_then(parse)
        .ok_or(ApprovalError::Form)?;
    match body.message() == message {
        true => Ok(body),
        false => Err(ApprovalError::Form),
    }
}

#[cfg(test)]
mod tests {
    use nacre_history::OwnerKeyPair;
    use nacre_manifest::Manifest;

    use super::*;

    fn transition() -> Transition {
        let manifest = Manifest::default();
        Transition::genesis(&manifest, manifest.hash(), 1_800_000_000)
    }

    fn approval() -> Approval {
        let owner = OwnerKeyPair::generate().unwrap();
        let signature = owner.sign(&transition().message()).unwrap();
        Approval::new(transition(), owner.spki(), signature.signature()).unwrap()
    }

    #[test]
    fn an_approval_survives_its_file() {
        let approval = approval();
        assert_eq!(Approval::parse(&approval.to_bytes()).unwrap(), approval);
    }

    #[test]
    fn a_changed_approval_is_refused() {
        let text = String::from_utf8(approval().to_bytes()).unwrap();
        for (from, to) in [
            ("approval/v1", "approval/v2"),
            ("\"generation\": 1", "\"generation\": 2"),
            ("\"transition\": \"01", "\"transition\": \"02"),
            ("\"format\"", "\"forma\""),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            assert!(Approval::parse(changed.as_bytes()).is_err(), "{from}");
        }
        let other = Transition::genesis(&Manifest::default(), Manifest::default().hash(), 1);
        let moved = text.replace(
            &hex::encode(transition().to_bytes()),
            &hex::encode(other.to_bytes()),
        );
        let refused = Approval::parse(moved.as_bytes());
        assert!(matches!(refused, Err(ApprovalError::Signature)));
    }

    #[test]
    fn a_prepared_file_is_exactly_what_is_signed() {
        let message = transition().message();
        assert_eq!(prepared_transition(&message).unwrap(), transition());
        let confirmation = Confirmation {
            transition: transition().hash(),
            salt: [1; 32],
            seed_shares: nacre_manifest::SeedSharesHash::of(b"shares"),
            root_spki: vec![2; 120],
            history_spki: vec![3; 120],
        };
        let confirm = confirmation.message();
        assert_eq!(prepared_confirmation(&confirm).unwrap(), confirmation);
        assert!(prepared_transition(&confirm).is_err());
        assert!(prepared_confirmation(&message).is_err());
        for cut in [&message[1..], &message[..message.len() - 1], b""] {
            assert!(prepared_transition(cut).is_err());
        }
    }
}
