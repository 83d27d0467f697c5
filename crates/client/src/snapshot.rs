//! What a Coordinator answers when it is asked for its history, as bytes. Nothing in it is believed.

use std::collections::BTreeMap;

use nacre_api::limits::{MAX_HISTORY, MAX_OBJECT, MAX_OBJECTS, NONCE_LEN};
use nacre_api::v1;
use nacre_atls::binding::HttpState;
use nacre_history::ObjectKey;

/// A state, the evidence for it, and every object of the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Chosen by who asked.
    pub nonce: [u8; NONCE_LEN],
    /// What the Coordinator says its state is.
    pub head: Head,
    /// The history.
    pub objects: BTreeMap<ObjectKey, Vec<u8>>,
}

/// A state as a Coordinator states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Hash of the transition in force.
    pub transition: [u8; 32],
    /// Hash of the manifest in force.
    pub manifest: [u8; 32],
    /// DER of the root CA's public key.
    pub root_spki: Vec<u8>,
    /// DER of the mesh CA's certificate.
    pub mesh_ca: Vec<u8>,
    /// Evidence, encoded.
    pub evidence: Vec<u8>,
    /// PEM of the root CA's certificate.
    pub root_ca: String,
    /// PEM of the intermediate CA's certificate.
    pub intermediate_ca: String,
}

/// Why an answer is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// The stream ended before everything was there.
    #[error("the answer ends early: {what}")]
    Truncated {
        /// What is missing.
        what: String,
    },
    /// A part that is not the next one.
    #[error("the answer is out of order: {what}")]
    Order {
        /// What came.
        what: &'static str,
    },
    /// A field of the wrong length or form.
    #[error("{what} is malformed")]
    Malformed {
        /// Which.
        what: &'static str,
    },
    /// An object that nobody knows.
    #[error("an object with the name {name:?}")]
    Name {
        /// As sent, shortened.
        name: String,
    },
    /// An object that came twice.
    #[error("{key} came twice")]
    Twice {
        /// Which.
        key: ObjectKey,
    },
    /// More than a history may have.
    #[error("{what} is too large")]
    TooLarge {
        /// What.
        what: String,
    },
}

impl Head {
    /// From the wire.
    pub fn of(state: v1::AttestedState) -> Result<Self, AnswerError> {
        let hash = |bytes: Vec<u8>, what| {
            <[u8; 32]>::try_from(bytes).map_err(|_| AnswerError::Malformed { what })
        };
        Ok(Self {
            transition: hash(state.transition, "the hash of the transition")?,
            manifest: hash(state.manifest, "the hash of the manifest")?,
            root_spki: state.root_spki,
            mesh_ca: state.mesh_ca,
            evidence: state.evidence,
            root_ca: state.root_ca,
            intermediate_ca: state.intermediate_ca,
        })
    }

    /// What the evidence has to be bound to.
    pub fn report_data(&self, nonce: &[u8; NONCE_LEN]) -> [u8; 64] {
        HttpState {
            nonce,
            transition: &self.transition,
            manifest: &self.manifest,
            root_spki: &self.root_spki,
            mesh_ca: &self.mesh_ca,
        }
        .report_data()
    }
}

/// Puts an answer together from its parts, in order and within limits.
#[derive(Debug)]
pub struct Assembly {
    nonce: [u8; NONCE_LEN],
    head: Option<(Head, usize)>,
    objects: BTreeMap<ObjectKey, Vec<u8>>,
    open: Option<(ObjectKey, Vec<u8>)>,
    total: usize,
}

impl Assembly {
    /// For the answer to a question with this nonce.
    pub fn new(nonce: [u8; NONCE_LEN]) -> Self {
        Self {
            nonce,
            head: None,
            objects: BTreeMap::new(),
            open: None,
            total: 0,
        }
    }

    /// How many objects are there, and how many were announced.
    pub fn progress(&self) -> (usize, usize) {
        (
            self.objects.len(),
            self.head.as_ref().map_or(0, |(_, announced)| *announced),
        )
    }

    /// Takes the next part.
    pub fn add(&mut self, part: v1::GetManifestsResponse) -> Result<(), AnswerError> {
        use v1::get_manifests_response::Part;
        match part.part {
            Some(Part::Head(state)) if self.head.is_none() => {
                let announced = usize::try_from(state.objects).unwrap_or(usize::MAX);
                if announced > MAX_OBJECTS {
                    return Err(AnswerError::TooLarge {
                        what: format!("a history of {announced} objects"),
                    });
                }
                self.head = Some((Head::of(state)?, announced));
                Ok(())
            }
            Some(Part::Head(_)) => Err(AnswerError::Order {
                what: "a second head",
            }),
            Some(Part::Object(_)) if self.head.is_none() => Err(AnswerError::Order {
                what: "an object before the head",
            }),
            Some(Part::Object(object)) => self.object(object),
            None => Err(AnswerError::Order {
                what: "an empty part",
            }),
        }
    }

    fn object(&mut self, piece: v1::Object) -> Result<(), AnswerError> {
        let key: ObjectKey = piece.key.parse().map_err(|_| AnswerError::Name {
            name: piece.key.chars().take(80).collect(),
        })?;
        let mut content = match self.open.take() {
            Some((open, content)) if open == key => content,
            Some(_) => {
                return Err(AnswerError::Order {
                    what: "another object inside of one",
                });
            }
            None if self.objects.contains_key(&key) => return Err(AnswerError::Twice { key }),
            None if self.objects.len() >= MAX_OBJECTS => {
                return Err(AnswerError::TooLarge {
                    what: "the history".into(),
                });
            }
            None => Vec::new(),
        };
        self.total = self.total.saturating_add(piece.content.len());
        if content.len().saturating_add(piece.content.len()) > MAX_OBJECT {
            return Err(AnswerError::TooLarge {
                what: key.to_string(),
            });
        }
        if self.total > MAX_HISTORY {
            return Err(AnswerError::TooLarge {
                what: "the history".into(),
            });
        }
        content.extend_from_slice(&piece.content);
        if piece.last {
            self.objects.insert(key, content);
        } else if piece.content.is_empty() {
            return Err(AnswerError::Order {
                what: "an empty piece",
            });
        } else {
            self.open = Some((key, content));
        }
        Ok(())
    }

    /// The whole answer, once the stream has ended.
    pub fn finish(self) -> Result<Snapshot, AnswerError> {
        let truncated = |what: String| AnswerError::Truncated { what };
        let (head, announced) = self.head.ok_or_else(|| truncated("no head".into()))?;
        if let Some((key, _)) = self.open {
            return Err(truncated(format!("the end of {key}")));
        }
        if self.objects.len() != announced {
            let found = self.objects.len();
            return Err(truncated(format!("{found} of {announced} objects")));
        }
        Ok(Snapshot {
            nonce: self.nonce,
            head,
            objects: self.objects,
        })
    }
}

#[cfg(test)]
mod tests;
