//! A Coordinator that listens, and the dialog of a submission.

use std::sync::Arc;

use nacre_api::limits;
use nacre_api::v1::set_manifest_request::Step as Ask;
use nacre_api::v1::set_manifest_response::Step as Tell;
use nacre_api::v1::{self, user_client::UserClient};
use nacre_atls::tonic::{Link, Own, connect};
use nacre_atls::{AtlsError, ClientKind, Connector, ReportQueue};
use nacre_attest::ReportSource;
use nacre_coordinator::Addresses;
use nacre_pki::LeafKey;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{COORDINATOR, guest, new_cert, references};

/// A Coordinator that listens.
pub(crate) struct Running {
    pub(crate) addresses: Addresses,
    /// Its raw policy, which callers expect.
    pub(crate) policy: &'static [u8],
    pub(super) stop: Option<oneshot::Sender<()>>,
    pub(crate) task: JoinHandle<()>,
}

impl Running {
    /// One in another process.
    #[allow(dead_code, reason = "for the benchmark")]
    pub(crate) fn elsewhere(addresses: Addresses) -> Self {
        Self {
            addresses,
            policy: COORDINATOR,
            stop: None,
            task: tokio::spawn(std::future::ready(())),
        }
    }

    /// Ends it as SIGTERM does.
    pub(crate) async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        (&mut self.task).await.unwrap();
    }

    /// As [`Running::stop`], without waiting for the end.
    pub(crate) fn begin_to_stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    /// An owner's connection.
    pub(crate) async fn user(&self) -> Link {
        let appraise = references(&[self.policy]);
        connect(
            &self.addresses.user.to_string(),
            &Connector::default(),
            Own::Unattested,
            &appraise,
        )
        .await
        .unwrap()
    }

    /// A workload's connection, or why there is none.
    pub(crate) async fn workload(&self, reports: Arc<dyn ReportSource>) -> Result<Link, AtlsError> {
        self.mesh(reports, ClientKind::Workload).await
    }

    pub(crate) async fn mesh(
        &self,
        reports: Arc<dyn ReportSource>,
        kind: ClientKind,
    ) -> Result<Link, AtlsError> {
        let queue = ReportQueue::new(reports, 1, 4);
        let own = Own::Attested {
            kind,
            queue: &queue,
        };
        let appraise = references(&[self.policy]);
        connect(
            &self.addresses.mesh.to_string(),
            &Connector::default(),
            own,
            &appraise,
        )
        .await
    }

    /// A certificate for a guest with this policy.
    pub(crate) async fn certificate(&self, policy: &[u8]) -> v1::NewMeshCertResponse {
        let link = self.workload(guest(policy)).await.unwrap();
        new_cert(&link, &LeafKey::generate().unwrap())
            .await
            .unwrap()
    }

    pub(crate) async fn state(&self) -> v1::GetStateResponse {
        let link = self.user().await;
        let mut client = UserClient::new(link.channel());
        let answer = client.get_state(v1::GetStateRequest {}).await;
        answer.unwrap().into_inner()
    }

    pub(crate) async fn phase(&self) -> v1::Phase {
        self.state().await.phase()
    }

    /// One request over plain HTTP: status and body.
    pub(crate) async fn plain(address: std::net::SocketAddr, request: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A refused body may end in a reset behind the answer.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).unwrap_or("0").parse().unwrap();
        (status, body.to_owned())
    }

    pub(crate) async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
        Self::plain(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await
    }
}

/// One message with these policies.
pub(crate) fn policies(raw: &[&[u8]]) -> Ask {
    let mut messages = v1::Policies::messages(raw.iter().copied());
    Ask::Policies(messages.next().unwrap_or_default())
}

/// One submission, message by message.
pub(crate) struct Dialog {
    out: mpsc::Sender<v1::SetManifestRequest>,
    answers: tonic::Streaming<v1::SetManifestResponse>,
}

impl Dialog {
    pub(crate) async fn open(link: &Link) -> Result<Self, Status> {
        let (out, requests) = mpsc::channel(8);
        let mut client =
            UserClient::new(link.channel()).max_encoding_message_size(8 * limits::MAX_MESSAGE);
        let answers = client.set_manifest(ReceiverStream::new(requests)).await?;
        Ok(Self {
            out,
            answers: answers.into_inner(),
        })
    }

    pub(crate) async fn say(&self, step: Ask) {
        // Whoever hung up says why in the answer.
        let _ = self
            .out
            .send(v1::SetManifestRequest { step: Some(step) })
            .await;
    }

    pub(crate) async fn hear(&mut self) -> Result<Tell, Status> {
        let message = self.answers.message().await?;
        message
            .and_then(|message| message.step)
            .ok_or_else(|| Status::aborted("the answer ended"))
    }
}
