//! Setting and recovering, with Coordinators that keep to the rules and others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nacre_api::v1;
use nacre_api::v1::set_manifest_request::Step as Ask;
use nacre_api::v1::set_manifest_response::Step as Answer;
use nacre_atls::binding::owner_request;
use nacre_client::keys::{OwnerSigner, SignError, WorkloadKey, encode};
use nacre_client::recover::OpenedShare;
use nacre_client::set::{Offer, Proposal};
use nacre_client::{ClientError, Kind};
use nacre_history::{ObjectKey, OwnerSignature, Transition};
use nacre_manifest::{ManifestHash, PolicyHash};
use nacre_pki::SeedShares;
use tonic::Status;

use crate::server::{Say, Script, serve, session};
use crate::world::{SEEDSHARE, World, web};

fn owner(world: &World) -> WorkloadKey {
    let der = world.owner.to_pkcs8().unwrap();
    WorkloadKey::from_pem(&encode("PRIVATE KEY", der.as_ref()), &mut || None).unwrap()
}

struct Setting {
    world: World,
    manifest: Vec<u8>,
    transition: Transition,
    policies: BTreeMap<PolicyHash, Vec<u8>>,
}

impl Setting {
    fn first() -> Self {
        let world = World::before_set(true);
        let manifest = world.manifest();
        let bytes = manifest.to_bytes();
        let transition = Transition::genesis(&manifest, ManifestHash::of(&bytes), 1_790_000_000);
        let raw = web("/web");
        Self {
            world,
            manifest: bytes,
            transition,
            policies: BTreeMap::from([(PolicyHash::of(&raw), raw)]),
        }
    }

    async fn set(
        &self,
        say: Say,
        confirm: &mut dyn FnMut(&Offer) -> Vec<OwnerSignature>,
    ) -> Result<nacre_client::set::SetOutcome, ClientError> {
        let address = serve(self.world.coordinator, say).await;
        let mut session = session(&self.world, address).await.unwrap();
        let owner = owner(&self.world);
        let signatures = [owner.sign(&self.transition.message()).unwrap()];
        let proposal = Proposal {
            manifest: &self.manifest,
            transition: self.transition,
            signatures: &signatures,
            online: &[&owner],
            policies: &self.policies,
        };
        session
            .set(&proposal, &mut |offer| Ok(confirm(offer)))
            .await
    }

    fn shares(&self) -> Vec<u8> {
        let owners = [SEEDSHARE.public().clone()];
        let genesis = *self.transition.hash().as_bytes();
        SeedShares::seal(&self.world.seed, 1, &owners, genesis)
            .unwrap()
            .to_bytes()
    }

    fn offer(&self, seed_shares: Vec<u8>) -> v1::Offer {
        v1::Offer {
            salt: vec![1; 32],
            root_spki: self.world.authority.root_spki().to_vec(),
            history_spki: self.world.authority.root_spki().to_vec(),
            seed_shares,
        }
    }
}

fn wanted(policies: Vec<Vec<u8>>) -> Result<Answer, Status> {
    Ok(Answer::Wanted(v1::Wanted { policies }))
}

fn applied(transition: Transition, seed_shares: Vec<u8>) -> v1::SetManifestResult {
    v1::SetManifestResult {
        applied: true,
        generation: transition.generation,
        transition: transition.hash().as_bytes().to_vec(),
        seed_shares,
        replicas: vec![v1::Replica {
            transition: transition.hash().as_bytes().to_vec(),
            guest: vec![1; 32],
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[tokio::test]
async fn the_first_set_goes_through_both_phases() {
    let setting = Setting::first();
    let (transition, shares) = (setting.transition, setting.shares());
    let offer = setting.offer(shares.clone());
    let policy = setting.policies.keys().next().unwrap().as_bytes().to_vec();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&seen);
    let say = Say {
        set: Box::new(move |asks| {
            *heard.lock().unwrap() = asks.to_vec();
            match asks.last().unwrap() {
                Ask::Proposal(_) => vec![wanted(vec![policy.clone()])],
                Ask::Policies(_) => vec![],
                Ask::PoliciesDone(_) => vec![Ok(Answer::Offer(offer.clone()))],
                Ask::Confirmation(_) => {
                    vec![Ok(Answer::Result(applied(transition, shares.clone())))]
                }
            }
        }),
        ..Say::default()
    };
    let manifest = setting.world.manifest();
    let owner = owner(&setting.world);
    let mut confirmed = None;
    let outcome = setting
        .set(say, &mut |offer| {
            offer.check(&manifest).unwrap();
            confirmed = Some(offer.confirmation.clone());
            vec![owner.sign(&offer.confirmation.message()).unwrap()]
        })
        .await
        .unwrap();
    assert_eq!((outcome.generation, outcome.confirmed()), (1, 1));
    assert!(outcome.applied.unwrap().seed_shares.is_some());
    let asks = seen.lock().unwrap();
    let [
        Ask::Proposal(proposal),
        Ask::Policies(_),
        Ask::PoliciesDone(_),
        Ask::Confirmation(signed),
    ] = asks.as_slice()
    else {
        panic!("{asks:?}")
    };
    assert_eq!(proposal.online.len(), 1);
    let signature =
        OwnerSignature::new(&signed.signatures[0].spki, &signed.signatures[0].signature);
    let confirmation = confirmed.unwrap();
    assert_eq!(signed.confirmation, confirmation.to_bytes());
    assert!(signature.unwrap().verify(&confirmation.message()));
}

#[tokio::test]
async fn a_server_that_breaks_the_rules_of_setting_gets_nothing_signed() {
    let strange = PolicyHash::of(b"never heard of").as_bytes().to_vec();
    let setting = Setting::first();
    let (transition, shares) = (setting.transition, setting.shares());
    let offer = setting.offer(shares.clone());
    let scripts: Vec<(&str, Kind, Script)> = vec![
        ("an early offer", Kind::Verification, {
            let offer = offer.clone();
            Box::new(move |_| vec![Ok(Answer::Offer(offer.clone()))])
        }),
        ("a policy nobody has", Kind::Refused, {
            let strange = strange.clone();
            Box::new(move |_| vec![wanted(vec![strange.clone()])])
        }),
        (
            "a malformed list",
            Kind::Verification,
            Box::new(|_| vec![wanted(vec![vec![1]])]),
        ),
        (
            "two lists",
            Kind::Verification,
            Box::new(|asks| match asks.last() {
                Some(Ask::Proposal(_)) => vec![wanted(vec![]), wanted(vec![])],
                _ => vec![],
            }),
        ),
        (
            "another transition",
            Kind::Verification,
            Box::new(move |_| {
                let mut result = applied(transition, Vec::new());
                result.transition[0] ^= 1;
                vec![Ok(Answer::Result(result))]
            }),
        ),
        (
            "a refusal",
            Kind::Refused,
            Box::new(|_| vec![Err(Status::permission_denied("no \u{1b}[2J owner"))]),
        ),
        (
            "nothing",
            Kind::Unreachable,
            Box::new(|_| vec![Err(Status::unavailable("gone"))]),
        ),
    ];
    for (name, kind, set) in scripts {
        let say = Say {
            set,
            ..Say::default()
        };
        let mut asked = 0;
        let outcome = setting
            .set(say, &mut |_| {
                asked += 1;
                Vec::new()
            })
            .await;
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {error}");
        assert_eq!(asked, 0, "{name}");
        assert!(!error.to_string().contains('\u{1b}'), "{name}");
    }
}

#[tokio::test]
async fn other_shares_than_were_confirmed_are_noticed() {
    let setting = Setting::first();
    let transition = setting.transition;
    let (offer, other) = (setting.offer(setting.shares()), setting.shares());
    let say = Say {
        set: Box::new(move |asks| match asks.last().unwrap() {
            Ask::Proposal(_) => vec![wanted(vec![])],
            Ask::PoliciesDone(_) => vec![Ok(Answer::Offer(offer.clone()))],
            Ask::Confirmation(_) => vec![Ok(Answer::Result(applied(transition, other.clone())))],
            Ask::Policies(_) => vec![],
        }),
        ..Say::default()
    };
    let error = setting.set(say, &mut |_| Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Verification, "{error}");
}

#[test]
fn an_offer_has_to_be_what_the_manifest_asks_for() {
    let setting = Setting::first();
    let manifest = setting.world.manifest();
    let offer = |seed_shares: Vec<u8>| Offer {
        confirmation: nacre_history::Confirmation {
            transition: setting.transition.hash(),
            salt: [0; 32],
            seed_shares: nacre_manifest::SeedSharesHash::of(&seed_shares),
            root_spki: vec![1],
            history_spki: vec![1],
        },
        seed_shares,
    };
    assert!(offer(setting.shares()).check(&manifest).is_ok());
    assert!(offer(b"{}".to_vec()).check(&manifest).is_err());
    let owners = [SEEDSHARE.public().clone()];
    let other = SeedShares::seal(&setting.world.seed, 1, &owners, [9; 32]).unwrap();
    let error = offer(other.to_bytes()).check(&manifest).unwrap_err();
    assert!(error.to_string().contains("another transition"), "{error}");
    let mut two = manifest.clone();
    two.recovery_threshold = 2;
    let error = offer(setting.shares()).check(&two).unwrap_err();
    assert!(error.to_string().contains("recovery threshold"), "{error}");
    let mut none = manifest.clone();
    none.seedshare_owner_pub_keys.clear();
    let error = offer(setting.shares()).check(&none).unwrap_err();
    assert!(error.to_string().contains("set of owners"), "{error}");
}

/// Signs only what a test expects.
struct Broken(Vec<u8>);

impl OwnerSigner for Broken {
    fn spki(&self) -> &[u8] {
        &self.0
    }

    fn sign(&self, _: &[u8]) -> Result<OwnerSignature, SignError> {
        Err(SignError::Key)
    }
}

#[tokio::test]
async fn a_key_that_cannot_sign_ends_the_set_before_anything_is_sent() {
    let setting = Setting::first();
    let address = serve(setting.world.coordinator, Say::default()).await;
    let mut session = session(&setting.world, address).await.unwrap();
    let broken = Broken(setting.world.owner.spki().to_vec());
    let proposal = Proposal {
        manifest: &setting.manifest,
        transition: setting.transition,
        signatures: &[],
        online: &[&broken],
        policies: &setting.policies,
    };
    let error = session
        .set(&proposal, &mut |_| Ok(Vec::new()))
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Sign(_)), "{error}");
}

#[tokio::test]
async fn a_share_goes_out_signed_for_this_connection() {
    use aws_lc_rs::signature::{ParsedPublicKey, RSA_PSS_2048_8192_SHA256};
    let world = World::new();
    let shares = world.objects.iter().find_map(|(key, bytes)| match key {
        ObjectKey::SeedShares(_) => SeedShares::parse(bytes).ok(),
        _ => None,
    });
    let share = OpenedShare::open(&shares.unwrap(), &SEEDSHARE).unwrap();
    let root = share.root_spki(world.salt.as_bytes()).unwrap().unwrap();
    assert_eq!(root, world.authority.root_spki());
    assert_ne!(share.root_spki(&[0; 32]).unwrap().unwrap(), root);
    let seed = world.seed.clone();
    let say = Say {
        recover: Box::new(move |request, exporter| {
            assert_eq!(request.share, seed.as_bytes());
            let signature = request.signature.as_ref().unwrap();
            let digest = nacre_api::recover_digest(request);
            let message = owner_request(exporter, nacre_api::method::RECOVER, &digest);
            let key = ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &signature.spki).unwrap();
            key.verify_sig(&message, &signature.signature).unwrap();
            Ok(v1::RecoverResponse {
                recovered: !request.dry_run,
                generation: 1,
                transition: request.expected.clone(),
                received: vec![request.index],
                needed: 1,
            })
        }),
        ..Say::default()
    };
    let address = serve(world.coordinator, say).await;
    let mut session = session(&world, address).await.unwrap();
    let head = world.transitions[0].hash();
    for dry_run in [true, false] {
        let outcome = session
            .recover(head, &share, &SEEDSHARE, dry_run)
            .await
            .unwrap();
        assert_eq!((outcome.recovered, outcome.transition), (!dry_run, head));
    }
    assert_eq!(format!("{share:?}"), "OpenedShare(1, 1 recover)");
}

#[tokio::test]
async fn one_coordinator_at_two_addresses_counts_once() {
    let setting = Setting::first();
    let transition = setting.transition;
    let replica = |address: &str, guest: &[u8]| v1::Replica {
        address: address.to_owned(),
        transition: transition.hash().as_bytes().to_vec(),
        guest: guest.to_vec(),
        ..Default::default()
    };
    let answered = async |replicas| {
        let result = v1::SetManifestResult {
            replicas,
            ..applied(transition, Vec::new())
        };
        let say = Say {
            set: Box::new(move |asks| match asks.last().unwrap() {
                Ask::Proposal(_) => vec![wanted(vec![])],
                Ask::PoliciesDone(_) => vec![Ok(Answer::Result(result.clone()))],
                _ => vec![],
            }),
            ..Say::default()
        };
        setting.set(say, &mut |_| Vec::new()).await
    };
    for (replicas, confirmed) in [
        (
            vec![
                replica("", &[1; 32]),
                replica("a", &[2; 32]),
                replica("b", &[2; 32]),
            ],
            2,
        ),
        (vec![replica("", &[1; 32]), replica("a", &[1; 32])], 1),
        (
            vec![
                replica("", &[1; 32]),
                replica("a", &[2; 32]),
                replica("b", &[3; 32]),
            ],
            3,
        ),
        // Whoever does not say which guest it is cannot be told from the others.
        (vec![replica("", &[1; 32]), replica("a", &[])], 1),
    ] {
        let outcome = answered(replicas).await.unwrap();
        assert_eq!(outcome.confirmed(), confirmed, "{:?}", outcome.replicas);
    }
    let malformed = answered(vec![replica("", &[1; 31])]).await.unwrap_err();
    assert_eq!(malformed.kind(), Kind::Verification, "{malformed}");
}
