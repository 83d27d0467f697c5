//! The cluster of the tests is a cluster.

use nacre_test_support::Cluster;

mod cluster {
    use super::Cluster;

    #[test]
    #[ignore = "needs a cluster: cargo xtask test --cluster"]
    fn objects_are_validated_and_stored_and_roles_hold() {
        let cluster = Cluster::shared();
        assert!(cluster.kubectl(&["version"]).contains("v1.34."));
        cluster.namespace("one");
        cluster.kubectl(&["create", "configmap", "a", "--namespace=one"]);
        let refused = cluster.try_kubectl(
            &["apply", "--filename=-"],
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x, namespace: one}\nspec: {replicas: -1}\n",
        );
        assert!(
            !refused.succeeded && refused.stderr.contains("spec.replicas"),
            "{}",
            refused.stderr
        );

        // An account without a role may not even look.
        let config = cluster.kubeconfig_of("one", "nobody");
        let nobody = format!("--kubeconfig={}", config.display());
        let refused = cluster.try_kubectl(&["get", "configmaps", &nobody], "");
        assert!(refused.stderr.contains("Forbidden"), "{}", refused.stderr);
        cluster.kubectl(&[
            "create",
            "role",
            "reader",
            "--namespace=one",
            "--verb=get,list",
            "--resource=configmaps",
        ]);
        cluster.kubectl(&[
            "create",
            "rolebinding",
            "reader",
            "--namespace=one",
            "--role=reader",
            "--serviceaccount=one:nobody",
        ]);
        let seen = cluster.kubectl(&["get", "configmaps", &nobody]);
        assert!(seen.contains('a'), "{seen}");
    }
}
