//! Which clients a port serves.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::appraise::Appraise;
use crate::error::AtlsError;
use crate::wire::ClientKind;

/// The kinds of client that a port serves, and who decides on the evidence of each.
///
/// A kind that is not named is refused; there is no port that serves whoever comes.
#[derive(Clone)]
pub struct Admission {
    attested: BTreeMap<ClientKind, Arc<dyn Appraise>>,
    unattested: bool,
}

impl Admission {
    /// Clients that bring no evidence, and no others.
    pub fn unattested() -> Self {
        Self {
            attested: BTreeMap::new(),
            unattested: true,
        }
    }

    /// Clients that are attested as `kind`, and no others.
    ///
    /// An error when `kind` is one that brings no evidence.
    pub fn attested(kind: ClientKind, appraise: Arc<dyn Appraise>) -> Result<Self, AtlsError> {
        let none = Self {
            attested: BTreeMap::new(),
            unattested: false,
        };
        none.and_attested(kind, appraise)
    }

    /// Serves clients that are attested as `kind`, too.
    ///
    /// An error when `kind` is one that brings no evidence.
    pub fn and_attested(
        mut self,
        kind: ClientKind,
        appraise: Arc<dyn Appraise>,
    ) -> Result<Self, AtlsError> {
        if kind == ClientKind::Unattested {
            return Err(AtlsError::Kind);
        }
        self.attested.insert(kind, appraise);
        Ok(self)
    }

    /// Serves clients that bring no evidence, too.
    #[must_use]
    pub fn and_unattested(self) -> Self {
        Self {
            unattested: true,
            ..self
        }
    }

    pub(crate) fn of(&self, kind: ClientKind) -> Option<Served<'_>> {
        if kind == ClientKind::Unattested {
            return self.unattested.then_some(Served::Unattested);
        }
        let appraise = self.attested.get(&kind)?;
        Some(Served::Attested(kind, appraise.as_ref()))
    }
}

/// How a client is served.
pub(crate) enum Served<'a> {
    /// As this kind, once its evidence is accepted.
    Attested(ClientKind, &'a dyn Appraise),
    /// As one without evidence.
    Unattested,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("attested", &self.attested.keys())
            .field("unattested", &self.unattested)
            .finish()
    }
}
