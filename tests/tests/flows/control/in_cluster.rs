//! The same with a real API server: what the commands print is applied, the history is in ConfigMaps that the
//! Coordinator's account may write, and the Coordinator is found in the kube context.

use std::path::Path;

use nacre_test_support::Cluster;

use super::deployment::{Deployment, Options};
use super::processes::openssl;
use super::title;
use crate::harness::{KUBECTL, given};

#[test]
#[ignore = "needs a cluster: cargo xtask test --cluster"]
fn from_apply_to_recovery_with_config_maps() {
    let cluster = Cluster::shared();
    title("a workspace in the kube context, the resources rendered and applied");
    let mut shop = Deployment::new(&Options {
        cluster: Some(cluster.clone()),
        ..Options::default()
    });
    shop.render();
    let coordinator = shop.start_coordinator(0);
    let mut pods = shop.start_pods();
    shop.wait_until_refused(&mut pods);

    title("set, verify: nobody says where the Coordinator is");
    let set = shop.nacre(&["set", "--namespace", "shop", "resources/"]);
    let chosen = format!(
        "using {}, the load balancer of Service shop/coordinator",
        coordinator.user
    );
    assert!(set.stderr.contains(&chosen), "{}", set.stderr);
    set.ok();
    shop.wait_for(&mut pods);
    shop.nacre(&["verify", "--namespace", "shop"]).ok();
    shop.check_certificates(&pods);
    // The certificate is made anew, for the same key.
    let root_path = shop.path("verify/coordinator-root-ca.pem");
    let root_path = root_path.to_str().unwrap();
    let root = || openssl(&["x509", "-noout", "-pubkey", "-in", root_path]);
    let before = root();
    let maps = || {
        let list = ["get", "configmaps", "--namespace=shop", "--output=name"];
        let maps =
            cluster.kubectl(&[&list[..], &["-l", "app.kubernetes.io/name=nacre-store"]].concat());
        maps.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let first = maps();
    assert!(
        first.contains(&"configmap/nacre-store-latest".to_owned()),
        "{first:?}"
    );

    title("the Coordinator is killed and recovers from the ConfigMaps");
    coordinator.kill();
    let coordinator = shop.start_coordinator(0);
    let mut pods = shop.start_pods();
    shop.wait_until_refused(&mut pods);
    shop.nacre(&["recover", "--namespace", "shop"]).ok();
    shop.wait_for(&mut pods);
    shop.nacre(&["verify", "--namespace", "shop"]).ok();
    assert_eq!(before, root());
    assert_eq!(first, maps(), "recovery writes nothing");

    title("an update, and the load balancer loses its address");
    shop.change_title("The shell shop, now with pearls");
    shop.render();
    shop.nacre(&["set", "--namespace", "shop", "resources/"])
        .ok();
    assert!(maps().len() > first.len(), "{:?}", maps());
    shop.take_load_balancer();
    let verify = ["verify", "--namespace", "shop"];
    let not_found = |shop: &mut Deployment, code: &str, said: &str| {
        let lost = shop.nacre(&verify);
        assert_eq!(lost.code, Some(2), "{}", lost.stderr);
        for words in [code, said] {
            assert!(lost.stderr.contains(words), "{words}: {}", lost.stderr);
        }
    };
    not_found(&mut shop, "NCR1503", "no load balancer address");

    title("kubectl forwards through an ordinary pod");
    let pod = shop.apply_forwarder();
    not_found(&mut shop, "NCR1503", "does not run");
    let mut forwarder = shop.run_forwarder(&pod, &coordinator);
    shop.install_kubectl(Path::new("/bin/false"));
    not_found(&mut shop, "NCR1504", "kubectl port-forward");
    shop.install_kubectl(&given(KUBECTL));
    let verified = shop.nacre(&verify);
    assert!(
        verified.stderr.contains("using 127.0.0.1:")
            && verified
                .stderr
                .contains("forwarded to pod shop/coordinator-port-forwarder"),
        "{}",
        verified.stderr
    );
    verified.ok();
    shop.change_title("The shell shop, by another way");
    shop.render();
    shop.take_load_balancer();
    shop.nacre(&["set", "--namespace", "shop", "resources/"])
        .ok();

    title("the pod's program is gone");
    forwarder.kill();
    let dead = shop.nacre(&verify);
    assert_ne!(dead.code, Some(0), "{}", dead.stderr);
    assert!(dead.stderr.contains("NCR"), "{}", dead.stderr);
}
