//! Pods' lives, and what a hostile host could make of them, in every engine.

use nacre_policy::request;

use crate::common::{Case, attached, mesh, rich, small};

#[path = "../shared/engines.rs"]
mod shared;

/// Of the hostile changes, one in so many.
const ONE_IN: usize = 20;

fn all_agree(case: &Case) {
    let life = case.with(request::life).into_iter();
    let life: Vec<_> = life
        .map(|r| (r.title, r.message.to_owned(), r.input))
        .collect();
    let asked = shared::all_agree(&case.policy().text, &life, ONE_IN);
    println!("{asked} requests");
    assert!(asked > life.len() + 50, "{asked}");
}

#[test]
fn a_small_pod_means_the_same_in_every_engine() {
    all_agree(&small());
}

#[test]
fn a_pod_of_the_mesh_means_the_same_in_every_engine() {
    all_agree(&mesh());
}

#[test]
fn volumes_and_devices_of_kata_3_mean_the_same_in_every_engine() {
    all_agree(&rich("kata-3"));
}

#[test]
fn volumes_and_devices_of_kata_4_mean_the_same_in_every_engine() {
    all_agree(&rich("kata-4"));
}

#[test]
fn resolvers_and_sysctls_mean_the_same_in_every_engine() {
    let mut case = attached();
    case.spec["dnsPolicy"] = serde_json::json!("None");
    case.spec["dnsConfig"] = serde_json::json!({"nameservers": ["10.0.0.2"]});
    case.spec["securityContext"] =
        serde_json::json!({"sysctls": [{"name": "net.core.somaxconn", "value": "1024"}]});
    all_agree(&case);
}

#[test]
fn a_privileged_pod_means_the_same_in_every_engine() {
    let mut case = small();
    case.spec["containers"][0]["securityContext"] = serde_json::json!({"privileged": true});
    all_agree(&case);
}
