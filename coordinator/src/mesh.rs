//! The mesh API: translates requests of attested callers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nacre_api::v1::{self, mesh_server::Mesh};
use nacre_atls::tonic::Caller;
use nacre_atls::{ClientKind, ReportQueue};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use crate::audit;
use crate::authority::Authority;
use crate::denied::Denied;
use crate::guard::{Core, Wanted};
use crate::issuer;
use crate::peers::Peers;
use crate::report;

/// Certificates that are made at a time; each takes a core for some hundred microseconds.
const AT_ONCE: usize = 64;
/// How long one request may take, waiting included.
const PATIENCE: Duration = Duration::from_secs(20);

/// Handlers of port 7777.
#[derive(Debug)]
pub(crate) struct MeshApi {
    pub(crate) core: Arc<Core>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) peers: Arc<Peers>,
    pub(crate) queue: Arc<ReportQueue>,
    turns: Semaphore,
}

impl MeshApi {
    pub(crate) fn new(
        authority: Arc<Authority>,
        peers: Arc<Peers>,
        queue: Arc<ReportQueue>,
    ) -> Self {
        Self {
            core: Arc::clone(&authority.core),
            authority,
            peers,
            queue,
            turns: Semaphore::new(AT_ONCE),
        }
    }

    async fn certificate(
        &self,
        caller: &Caller,
        csr: &[u8],
    ) -> Result<v1::NewMeshCertResponse, Denied> {
        let peer = caller.attested(ClientKind::Workload);
        let peer = peer.map_err(|_| Denied::Internal("a caller without evidence"))?;
        let _turn = self.turns.acquire().await.map_err(|_| Denied::Busy)?;
        let (ready, policy) = self.core.entry_of(peer, Wanted::Listed)?;
        let now = self.core.time.now();
        let issued = issuer::issue(&ready, policy, peer, caller.remote(), csr, now)?;
        self.core.metrics.issued();
        Ok(issued)
    }

    /// Seed and keys for another Coordinator of the manifest in force.
    async fn hand_over(&self, caller: &Caller) -> Result<v1::PeerRecoverResponse, Denied> {
        let peer = caller.attested(ClientKind::Coordinator);
        let peer = peer.map_err(|_| Denied::Internal("a caller without evidence"))?;
        let (ready, policy) = self.core.entry_of(peer, Wanted::Heir)?;
        if !ready.manifest().peer_recovery || !ready.history.is_bound() {
            return Err(Denied::NoPeerRecovery);
        }
        audit::peer(&policy, &peer.claims().chip_id, caller.remote());
        self.core.metrics.seed_given();
        let previous = ready.previous.as_ref();
        Ok(v1::PeerRecoverResponse {
            seed: ready.keys.seed.as_bytes().to_vec(),
            salt: ready.keys.salt.as_bytes().to_vec(),
            mesh_key: ready.ca.mesh_key().to_scalar()?.to_vec(),
            root_ca: ready.ca.root().to_vec(),
            intermediate_ca: ready.ca.intermediate().to_vec(),
            mesh_ca: ready.ca.mesh_ca().to_vec(),
            transition: ready.head().hash.as_bytes().to_vec(),
            previous_mesh_ca: previous.map(|p| p.mesh_ca.clone()).unwrap_or_default(),
        })
    }

    async fn attested_state(&self, nonce: &[u8]) -> Result<v1::AttestedState, Denied> {
        let nonce = report::nonce(nonce)?;
        if self.peers.is_mine(&nonce) {
            return Err(Denied::Myself);
        }
        // The one who asks may have moved the head a moment ago.
        self.authority.refresh().await?;
        if let Err(reason) = self.peers.try_recover(&self.authority).await {
            tracing::info!(reason, "not recovered from another Coordinator yet");
        }
        let ready = self.core.ready()?;
        let evidence = report::evidence(&ready, &self.queue, &nonce).await?;
        Ok(report::message(&ready, &evidence, 0))
    }

    async fn answer<T>(
        &self,
        method: &'static str,
        remote: SocketAddr,
        work: impl Future<Output = Result<T, Denied>>,
    ) -> Result<Response<T>, Status> {
        let started = Instant::now();
        let result = match tokio::time::timeout(PATIENCE, work).await {
            Ok(result) => result,
            Err(_) => Err(Denied::Slow {
                what: "the request",
                limit: PATIENCE,
            }),
        };
        self.core.metrics.took(method, started.elapsed());
        result.map(Response::new).map_err(|denied| {
            self.core.metrics.denied("mesh", denied.reason());
            let reason = crate::denied::chain(&denied);
            audit::refused(method, denied.code(), &reason, remote);
            denied.into()
        })
    }
}

#[tonic::async_trait]
impl Mesh for MeshApi {
    async fn new_mesh_cert(
        &self,
        request: Request<v1::NewMeshCertRequest>,
    ) -> Result<Response<v1::NewMeshCertResponse>, Status> {
        let caller = Caller::of(&request)?;
        caller.attested(ClientKind::Workload)?;
        let work = self.certificate(&caller, &request.get_ref().csr);
        self.answer("NewMeshCert", caller.remote(), work).await
    }

    async fn recover(
        &self,
        request: Request<v1::PeerRecoverRequest>,
    ) -> Result<Response<v1::PeerRecoverResponse>, Status> {
        let caller = Caller::of(&request)?;
        caller.attested(ClientKind::Coordinator)?;
        let work = self.hand_over(&caller);
        self.answer("PeerRecover", caller.remote(), work).await
    }

    async fn confirm(
        &self,
        request: Request<v1::ConfirmRequest>,
    ) -> Result<Response<v1::AttestedState>, Status> {
        let caller = Caller::of(&request)?;
        // It makes this Coordinator look at its store: not for everybody.
        caller.attested(ClientKind::Coordinator)?;
        let work = self.attested_state(&request.get_ref().nonce);
        self.answer("Confirm", caller.remote(), work).await
    }
}
