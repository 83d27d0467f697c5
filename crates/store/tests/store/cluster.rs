//! ConfigMaps of a real API server, with the rights that `deploy/coordinator.yml` gives and no others.

mod packs;

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use nacre_store::{ConfigMaps, Put, Store, StoreError, Swap};
use nacre_test_support::{Cluster, coordinator_rights};

use crate::conformance::{key, suite};

async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
    Client::try_from(config.unwrap()).unwrap()
}

/// A namespace with the Coordinator's account, and a store with that account's rights.
async fn store(cluster: &Cluster, namespace: &str) -> ConfigMaps {
    cluster.namespace(namespace);
    cluster.kubectl_with(&["apply", "--filename=-"], &coordinator_rights(namespace));
    let kubeconfig = cluster.kubeconfig_of(namespace, "coordinator");
    ConfigMaps::new(client(&kubeconfig).await, namespace)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
async fn conformance() {
    const STORES: usize = 10;
    let cluster = Cluster::shared();
    let mut stores: Vec<Arc<dyn Store>> = Vec::new();
    for number in 0..STORES {
        stores.push(Arc::new(store(&cluster, &format!("store-{number}")).await));
    }
    let next = Cell::new(0);
    let fresh = || {
        next.set(next.get() + 1);
        Arc::clone(&stores[next.get() - 1])
    };
    suite(&fresh, false).await;
    assert_eq!(next.get(), STORES);

    // Everything that was written goes with the installation; other tests write in other namespaces.
    let list = |selector: &str| {
        let mut names = Vec::new();
        for number in 0..STORES {
            let namespace = format!("--namespace=store-{number}");
            let all = ["get", "configmaps", "--output=name", &namespace, selector];
            names.extend(cluster.kubectl(&all).lines().map(str::to_owned));
        }
        names.retain(|name| name.starts_with("configmap/nacre-store-"));
        names
    };
    let labelled = list("--selector=app.kubernetes.io/part-of=nacre");
    assert!(labelled.len() > 20, "{labelled:?}");
    assert_eq!(labelled, list("--selector="));
}

#[tokio::test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
async fn the_account_may_do_what_the_store_does_and_nothing_else() {
    let cluster = Cluster::shared();
    let other = store(&cluster, "rights-other").await;
    let own = store(&cluster, "rights").await;
    own.put(&key("manifests", 1), b"x").await.unwrap();
    let account = "--as=system:serviceaccount:rights:coordinator";
    let may = |verb: &str, what: &str, namespace: &str| {
        let question = [
            "auth",
            "can-i",
            verb,
            what,
            "--namespace",
            namespace,
            account,
        ];
        let answer = cluster.try_kubectl(&question, "");
        assert!(
            ["yes", "no"].contains(&answer.stdout.trim()),
            "{}",
            answer.stderr
        );
        answer.stdout.trim() == "yes"
    };
    for verb in ["get", "list", "watch", "create", "update"] {
        assert!(may(verb, "configmaps", "rights"), "{verb}");
        assert!(!may(verb, "configmaps", "rights-other"), "{verb}");
        for what in [
            "secrets",
            "pods",
            "serviceaccounts",
            "roles.rbac.authorization.k8s.io",
        ] {
            assert!(!may(verb, what, "rights"), "{verb} {what}");
        }
    }
    for verb in ["delete", "deletecollection", "patch"] {
        assert!(!may(verb, "configmaps", "rights"), "{verb}");
    }

    // A refusal names the object and is no absence.
    let client = client(&cluster.kubeconfig_of("rights", "coordinator")).await;
    let elsewhere = ConfigMaps::new(client, "rights-other");
    other.put(&key("manifests", 2), b"x").await.unwrap();
    for error in [
        elsewhere.read(&key("manifests", 2)).await.unwrap_err(),
        elsewhere.swap(None, b"x").await.unwrap_err(),
        elsewhere.changed(None).await.unwrap_err(),
    ] {
        let StoreError::Cluster { object, source } = &error else {
            panic!("{error:?}")
        };
        assert!(object.starts_with("nacre-store-"), "{object}");
        assert!(source.to_string().contains("orbidden"), "{source}");
    }
    assert!(other.latest().await.unwrap().is_none());
}

#[tokio::test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
async fn what_others_did_to_the_objects_is_found_and_mended() {
    let cluster = Cluster::shared();
    let store = store(&cluster, "damage").await;
    let large: Vec<u8> = (0..3 << 20_usize).map(|byte| (byte % 251) as u8).collect();
    let key = key("policies", 1);
    let name = format!("nacre-store-policies-{}", key.hash());
    let second = format!("{name}.1");
    assert_eq!(store.put(&key, &large).await.unwrap(), Put::Stored);

    let kubectl = |arguments: &[&str]| {
        cluster.kubectl(&[&["--namespace=damage"], arguments].concat());
    };
    let damage: [(&str, &[&str]); 4] = [
        ("a part is missing", &["delete", "configmap", &second]),
        (
            "it has another length than it says",
            &[
                "patch",
                "configmap",
                &second,
                "--type=merge",
                "--patch",
                r#"{"binaryData":{"data":"AAAA"}}"#,
            ],
        ),
        (
            "its annotations do not say how much there is",
            &["annotate", "configmap", &name, "nacre.dev/parts-"],
        ),
        (
            "it has no data",
            &[
                "patch",
                "configmap",
                &name,
                "--type=merge",
                "--patch",
                r#"{"binaryData":null}"#,
            ],
        ),
    ];
    for (expected, command) in damage {
        kubectl(command);
        match store.read(&key).await {
            Err(StoreError::Damaged { what, .. }) => assert_eq!(what, expected),
            other => panic!("{expected}: {other:?}"),
        }
        assert_eq!(
            store.put(&key, &large).await.unwrap(),
            Put::Different,
            "{expected}"
        );
        store.replace(&key, &large).await.unwrap();
        assert!(
            store.read(&key).await.unwrap().unwrap() == large,
            "{expected}"
        );
    }
    let huge = format!("nacre.dev/bytes={}", u64::from(u32::MAX));
    kubectl(&["annotate", "--overwrite", "configmap", &name, &huge]);
    let error = store.read(&key).await;
    assert!(
        matches!(error, Err(StoreError::TooLarge { .. })),
        "{error:?}"
    );

    // Whoever wrote it anew stopped halfway: it is not there, and can be put.
    kubectl(&[
        "annotate",
        "--overwrite",
        "configmap",
        &name,
        "nacre.dev/parts=0",
    ]);
    assert_eq!(store.read(&key).await.unwrap(), None);
    let huge = format!("nacre.dev/bytes={}", large.len());
    kubectl(&["annotate", "--overwrite", "configmap", &name, &huge]);
    assert_eq!(store.put(&key, &large).await.unwrap(), Put::Stored);
    assert!(store.read(&key).await.unwrap().unwrap() == large);

    // The pointer was removed by somebody: whoever has its version has lost.
    let Swap::Moved(version) = store.swap(None, b"one").await.unwrap() else {
        panic!("lost")
    };
    kubectl(&["delete", "configmap", "nacre-store-latest"]);
    assert_eq!(
        store.swap(Some(&version), b"two").await.unwrap(),
        Swap::Lost
    );
    assert_eq!(store.latest().await.unwrap(), None);
}
