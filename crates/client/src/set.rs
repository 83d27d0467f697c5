//! Setting a manifest: propose, send the policies that are missing, confirm the first one.

use std::collections::{BTreeMap, BTreeSet};

use nacre_api::limits::{MAX_OBJECT, MAX_POLICY};
use nacre_api::method::SET_MANIFEST;
use nacre_api::v1;
use nacre_api::v1::set_manifest_request::Step as Ask;
use nacre_api::v1::set_manifest_response::Step as Answer;
use nacre_findings::printable;
use nacre_history::{Confirmation, OwnerSignature, Transition};
use nacre_manifest::{Manifest, PolicyHash, SeedSharesHash, TransitionHash};
use nacre_pki::{SeedShares, SharesError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::error::ClientError;
use crate::keys::OwnerSigner;
use crate::session::{Pending, Session, patient};
use crate::snapshot::AnswerError;

/// What is proposed.
pub struct Proposal<'a> {
    /// The manifest, byte for byte.
    pub manifest: &'a [u8],
    /// The step to it.
    pub transition: Transition,
    /// Owners' signatures over the transition.
    pub signatures: &'a [OwnerSignature],
    /// Owners whose keys are here: they sign for this connection too.
    pub online: &'a [&'a dyn OwnerSigner],
    /// Raw policies by hash, as far as they are at hand.
    pub policies: &'a BTreeMap<PolicyHash, Vec<u8>>,
}

/// What a first manifest would bring to be: for the owners to keep and to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What the owners sign.
    pub confirmation: Confirmation,
    /// The document with the encrypted shares of the seed, byte for byte.
    pub seed_shares: Vec<u8>,
}

/// Answers an offer: keeps the shares, then signs the confirmation.
///
/// Called while the Coordinator waits. Whatever it returns as an error ends the set with nothing issued.
pub type Confirm<'a> =
    &'a mut dyn FnMut(
        &Offer,
    ) -> Result<Vec<OwnerSignature>, Box<dyn std::error::Error + Send + Sync>>;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetOutcome {
    /// The transition proposed.
    pub transition: TransitionHash,
    /// Its number.
    pub generation: u64,
    /// Whether it is in force; `Err` holds what is missing.
    pub applied: Result<Applied, Box<Pending>>,
    /// Which Coordinators proved which head.
    pub replicas: Vec<Replica>,
}

/// A manifest in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// PEM of the root CA.
    pub root_ca: String,
    /// PEM of the mesh CA.
    pub mesh_ca: String,
    /// The document with the encrypted shares, for the first manifest.
    pub seed_shares: Option<Vec<u8>>,
    /// True: the new head is stored, but the Coordinator could not read it back.
    pub unread: bool,
}

/// One Coordinator that was asked for its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its address; empty for the one that answered.
    pub address: String,
    /// The head it proved.
    pub transition: Option<TransitionHash>,
    /// Why it proved none.
    pub error: String,
    /// REPORT_ID of the guest that proved it.
    pub guest: Option<[u8; 32]>,
}

impl Session {
    /// Proposes a manifest, or approves one that was proposed.
    pub async fn set(
        &mut self,
        proposal: &Proposal<'_>,
        confirm: Confirm<'_>,
    ) -> Result<SetOutcome, ClientError> {
        let first = self.proposal(proposal)?;
        let (sender, receiver) = mpsc::channel(4);
        // There is room for the first message, so this does not wait.
        let gone = |_| AnswerError::Truncated {
            what: "the rest of the conversation".to_owned(),
        };
        let mut ask = Asks { sender };
        ask.send(first).await.map_err(gone)?;
        let stream = self.user().set_manifest(ReceiverStream::new(receiver));
        let mut answers = patient("set", stream).await?.into_inner();

        let wanted = match next(&mut answers).await? {
            Answer::Wanted(wanted) => wanted,
            Answer::Result(result) => return outcome(proposal, result, None),
            Answer::Offer(_) => {
                return Err(AnswerError::Order {
                    what: "an early offer",
                }
                .into());
            }
        };
        for policies in v1::Policies::messages(self.wanted(proposal, &wanted)?) {
            // A Coordinator that refuses closes the stream; the reason is in its answer.
            if ask.send(Ask::Policies(policies)).await.is_err() {
                break;
            }
        }
        let _ = ask.send(Ask::PoliciesDone(v1::PoliciesDone {})).await;

        let mut offered = None;
        loop {
            match next(&mut answers).await? {
                Answer::Result(result) => return outcome(proposal, result, offered),
                Answer::Offer(offer) if proposal.transition.is_genesis() && offered.is_none() => {
                    let offer = read_offer(proposal, offer)?;
                    let signatures = confirm(&offer).map_err(ClientError::Stopped)?;
                    let signed = v1::SignedConfirmation {
                        confirmation: offer.confirmation.to_bytes(),
                        signatures: signatures.iter().map(wire).collect(),
                    };
                    offered = Some(offer);
                    let _ = ask.send(Ask::Confirmation(signed)).await;
                }
                Answer::Offer(_) => {
                    return Err(AnswerError::Order {
                        what: "an offer nobody awaits",
                    }
                    .into());
                }
                Answer::Wanted(_) => {
                    return Err(AnswerError::Order {
                        what: "a second list",
                    }
                    .into());
                }
            }
        }
    }

    fn proposal(&self, proposal: &Proposal<'_>) -> Result<Ask, ClientError> {
        let transition = proposal.transition.to_bytes();
        let digest = *proposal.transition.hash().as_bytes();
        let message = self.link().owner_request(SET_MANIFEST, &digest);
        let online = proposal
            .online
            .iter()
            .map(|owner| Ok(wire(&owner.sign(&message)?)))
            .collect::<Result<_, ClientError>>()?;
        Ok(Ask::Proposal(v1::Proposal {
            manifest: proposal.manifest.to_vec(),
            transition: transition.to_vec(),
            signatures: proposal.signatures.iter().map(wire).collect(),
            online,
        }))
    }

    /// The policies that the Coordinator lacks, each of which has to be one of this manifest.
    fn wanted<'a>(
        &self,
        proposal: &'a Proposal<'_>,
        wanted: &v1::Wanted,
    ) -> Result<Vec<&'a [u8]>, ClientError> {
        wanted
            .policies
            .iter()
            .map(|hash| {
                let policy =
                    PolicyHash::try_from(hash.as_slice()).map_err(|_| AnswerError::Malformed {
                        what: "a wanted policy",
                    })?;
                let raw = proposal.policies.get(&policy);
                let raw = raw.ok_or(ClientError::PolicyMissing { policy })?;
                match raw.len() > MAX_POLICY {
                    true => Err(AnswerError::TooLarge {
                        what: policy.to_string(),
                    }
                    .into()),
                    false => Ok(raw.as_slice()),
                }
            })
            .collect()
    }
}

struct Asks {
    sender: mpsc::Sender<v1::SetManifestRequest>,
}

impl Asks {
    async fn send(&mut self, step: Ask) -> Result<(), ()> {
        let message = v1::SetManifestRequest { step: Some(step) };
        self.sender.send(message).await.map_err(|_| ())
    }
}

async fn next(answers: &mut Streaming<v1::SetManifestResponse>) -> Result<Answer, ClientError> {
    let message = patient("set", answers.message()).await?;
    let message = message.ok_or_else(|| AnswerError::Truncated {
        what: "no result".to_owned(),
    })?;
    let empty = AnswerError::Order {
        what: "an empty answer",
    };
    Ok(message.step.ok_or(empty)?)
}

fn read_offer(proposal: &Proposal<'_>, offer: v1::Offer) -> Result<Offer, ClientError> {
    if offer.seed_shares.len() > MAX_OBJECT {
        return Err(AnswerError::TooLarge {
            what: "the seed shares".into(),
        }
        .into());
    }
    let salt = offer.salt.as_slice().try_into();
    Ok(Offer {
        confirmation: Confirmation {
            transition: proposal.transition.hash(),
            salt: salt.map_err(|_| AnswerError::Malformed { what: "the salt" })?,
            seed_shares: SeedSharesHash::of(&offer.seed_shares),
            root_spki: offer.root_spki,
            history_spki: offer.history_spki,
        },
        seed_shares: offer.seed_shares,
    })
}

fn outcome(
    proposal: &Proposal<'_>,
    result: v1::SetManifestResult,
    offered: Option<Offer>,
) -> Result<SetOutcome, ClientError> {
    let transition = proposal.transition.hash();
    if result.transition.as_slice() != transition.as_bytes() {
        let what = "it answers about another transition".to_owned();
        return Err(ClientError::Offer { what });
    }
    let differs = offered.is_some_and(|offer| {
        result.applied && offer.seed_shares.as_slice() != result.seed_shares.as_slice()
    });
    if differs {
        let what = "the seed shares are not those that were confirmed".to_owned();
        return Err(ClientError::Offer { what });
    }
    let applied = match (result.applied, result.pending) {
        (true, _) => Ok(Applied {
            root_ca: result.root_ca,
            mesh_ca: result.mesh_ca,
            seed_shares: (!result.seed_shares.is_empty()).then_some(result.seed_shares),
            unread: result.unconfirmed,
        }),
        (false, Some(pending)) => Err(Box::new(Pending::of(pending)?)),
        (false, None) => {
            return Err(AnswerError::Order {
                what: "no approvals named",
            }
            .into());
        }
    };
    let replicas = result.replicas.into_iter().map(replica);
    Ok(SetOutcome {
        transition,
        generation: result.generation,
        applied,
        replicas: replicas.collect::<Result<_, _>>()?,
    })
}

fn replica(replica: v1::Replica) -> Result<Replica, ClientError> {
    let transition = match replica.transition.as_slice() {
        [] => None,
        bytes => Some(
            TransitionHash::try_from(bytes).map_err(|_| AnswerError::Malformed {
                what: "the head of a replica",
            })?,
        ),
    };
    let guest = match replica.guest.as_slice() {
        [] => None,
        bytes => Some(bytes.try_into().map_err(|_| AnswerError::Malformed {
            what: "the guest of a replica",
        })?),
    };
    Ok(Replica {
        address: printable(&replica.address).into_owned(),
        transition,
        error: printable(&replica.error).into_owned(),
        guest,
    })
}

/// A signature as it travels.
pub(crate) fn wire(signature: &OwnerSignature) -> v1::Signature {
    v1::Signature {
        spki: signature.spki().to_vec(),
        signature: signature.signature().to_vec(),
    }
}

impl SetOutcome {
    /// How many Coordinators proved that the manifest is in force: guests, not addresses, of which one may have
    /// several.
    pub fn confirmed(&self) -> usize {
        let there = |replica: &&Replica| replica.transition == Some(self.transition);
        let there = self.replicas.iter().filter(there);
        let guests: BTreeSet<_> = there.filter_map(|replica| replica.guest).collect();
        guests.len()
    }
}

/// Why an offer is not confirmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// The document is no seed-share document.
    #[error("the seed shares that the Coordinator offers cannot be read")]
    Document(#[from] SharesError),
    /// The document is for something else.
    #[error("the seed shares that the Coordinator offers are for another {what}")]
    Other {
        /// What differs.
        what: &'static str,
    },
}

impl Offer {
    /// Whether the offered shares are those the manifest asks for: one for each of its seed-share owners, so
    /// many of whom recover, of a seed for this transition.
    pub fn check(&self, manifest: &Manifest) -> Result<SeedShares, OfferError> {
        let document = SeedShares::parse(&self.seed_shares)?;
        let other = |what| OfferError::Other { what };
        if document.genesis() != self.confirmation.transition.as_bytes() {
            return Err(other("transition"));
        }
        if u32::from(document.threshold()) != manifest.recovery_threshold {
            return Err(other("recovery threshold"));
        }
        let offered: BTreeSet<_> = document
            .entries()
            .iter()
            .map(|entry| &entry.owner)
            .collect();
        let asked: BTreeSet<_> = manifest.seedshare_owner_pub_keys.iter().collect();
        if offered != asked {
            return Err(other("set of owners"));
        }
        Ok(document)
    }
}
