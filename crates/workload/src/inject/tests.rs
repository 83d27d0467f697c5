use serde_json::json;

use super::*;
use crate::annotations::Annotations;
use crate::kinds::TemplatePath;
use crate::names::{CERTS_VOLUME, GATE_PATH};

fn link() -> CoordinatorLink {
    CoordinatorLink {
        host: "coordinator".to_owned(),
        policy_hashes: vec!["b".to_owned(), "a".to_owned()],
        reference: Some("{\"snp\":[]}".to_owned()),
        allow_unattested: true,
    }
}

fn settings(ingress: &str) -> MeshSettings {
    let object = json!({"metadata": {"annotations": {"nacre.dev/servicemesh-ingress": ingress}}});
    let (annotations, _) = Annotations::read(&object, &TemplatePath::new([]));
    mesh_settings(&annotations, "nacre.local").unwrap()
}

fn inject(spec: &mut Value, mesh: Option<&MeshSettings>) -> Vec<Finding> {
    let link = link();
    Injection {
        initializer_image: Some("init:2"),
        mesh: mesh.map(|settings| ("mesh:2", settings)),
        coordinator: &link,
        renew_seconds: 0,
        attestation_agent: false,
        claim_templates: &[],
    }
    .apply(spec, "spec")
}

fn names(spec: &Value) -> Vec<&str> {
    containers(spec).map(|c| c.name()).collect()
}

#[test]
fn the_initializer_comes_first_and_everybody_gets_the_certificates() {
    let mut spec = json!({
        "containers": [{"name": "app"}],
        "initContainers": [{"name": "migrate"}, {"name": "logger", "restartPolicy": "Always"}],
    });
    assert_eq!(inject(&mut spec, None), []);
    assert_eq!(
        names(&spec),
        ["contrast-initializer", "migrate", "logger", "app"]
    );
    for container in containers(&spec) {
        let mount = &container.value["volumeMounts"][0];
        assert_eq!(mount["mountPath"], "/tls-config", "{}", container.name());
        let ours = container.name() == "contrast-initializer";
        assert_eq!(
            mount.get("readOnly").is_none(),
            ours,
            "{}",
            container.name()
        );
    }
    assert_eq!(
        spec["volumes"],
        json!([{"name": CERTS_VOLUME, "emptyDir": {"medium": "Memory"}}])
    );
    assert_eq!(
        spec["initContainers"][0]["env"],
        json!([
            {"name": "COORDINATOR_HOST", "value": "coordinator"},
            {"name": "NACRE_COORDINATOR_POLICY_HASH", "value": "a,b"},
            {"name": "NACRE_COORDINATOR_REFERENCE", "value": "{\"snp\":[]}"},
        ])
    );
}

#[test]
fn injected_containers_work_under_a_restrictive_pod() {
    let mut spec = json!({
        "securityContext": {"runAsNonRoot": true, "runAsUser": 1000},
        "containers": [{"name": "app"}],
    });
    let mesh = settings("");
    assert_eq!(inject(&mut spec, Some(&mesh)), []);
    for (index, capabilities) in [
        json!({"drop": ["ALL"]}),
        json!({"drop": ["ALL"], "add": ["NET_ADMIN"]}),
    ]
    .iter()
    .enumerate()
    {
        let container = &spec["initContainers"][index];
        let context = &container["securityContext"];
        assert_eq!(context["runAsUser"], 0);
        assert_eq!(context["runAsNonRoot"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["privileged"], false);
        assert_eq!(&context["capabilities"], capabilities);
        assert_eq!(container["resources"]["limits"]["memory"], "64Mi");
        assert_eq!(container["resources"]["requests"]["memory"], "64Mi");
        assert!(container["resources"]["limits"].get("cpu").is_none());
    }
    // The pod's own context is the user's.
    assert_eq!(spec["securityContext"]["runAsUser"], 1000);
}

#[test]
fn the_mesh_is_a_sidecar_after_the_initializer() {
    let mut spec = json!({"containers": [{"name": "app"}], "initContainers": [{"name": "x"}]});
    let mesh = settings("main#8001#false");
    assert_eq!(inject(&mut spec, Some(&mesh)), []);
    assert_eq!(
        names(&spec),
        ["contrast-initializer", "contrast-service-mesh", "x", "app"]
    );
    let sidecar = &spec["initContainers"][1];
    assert_eq!(sidecar["restartPolicy"], "Always");
    assert_eq!(sidecar["startupProbe"]["tcpSocket"]["port"], 15006);
    assert_eq!(
        sidecar["env"],
        json!([{"name": "CONTRAST_INGRESS_PROXY_CONFIG", "value": "main#8001#false"}])
    );
}

#[test]
fn every_setting_reaches_the_sidecar() {
    let object = json!({"metadata": {"annotations": {
        "nacre.dev/servicemesh-egress": "db#127.0.0.2:1#db.x:2",
        "nacre.dev/servicemesh-admin-interface-port": "9901",
        "nacre.dev/servicemesh-ingress-allow": "*=shop/Deployment/web",
        "nacre.dev/servicemesh-egress-peer": "db=shop/StatefulSet/db",
        "nacre.dev/servicemesh-inbound-udp": "allow",
        "nacre.dev/servicemesh-strict-egress": "true",
    }}});
    let (annotations, findings) = Annotations::read(&object, &TemplatePath::new([]));
    assert_eq!(findings, []);
    let mesh = mesh_settings(&annotations, "td").unwrap();
    let mut spec = json!({"containers": [{"name": "app"}]});
    inject(&mut spec, Some(&mesh));
    let sidecar = &spec["initContainers"][1];
    let env: Vec<_> = sidecar["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| {
            format!(
                "{}={}",
                e["name"].as_str().unwrap(),
                e["value"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        env,
        [
            "CONTRAST_EGRESS_PROXY_CONFIG=db#127.0.0.2:1#db.x:2",
            "CONTRAST_ADMIN_PORT=9901",
            "NACRE_MESH_INGRESS_ALLOW=*=spiffe://td/ns/shop/Deployment/web",
            "NACRE_MESH_EGRESS_PEER=db=spiffe://td/ns/shop/StatefulSet/db",
            "NACRE_MESH_INBOUND_UDP=allow",
            "NACRE_MESH_STRICT_EGRESS=true",
        ]
    );
    assert_eq!(sidecar["ports"][0]["name"], "contrast-admin");
}

#[test]
fn what_contrast_v08_injected_is_replaced() {
    let mut spec = json!({
        "containers": [{"name": "app", "volumeMounts": [{"name": CERTS_VOLUME, "mountPath": "/tls-config"}]}],
        "initContainers": [
            {"name": "migrate"},
            {"name": "contrast-service-mesh", "restartPolicy": "Always", "image": "old", "securityContext": {"privileged": true}},
            {"name": "contrast-initializer", "image": "old", "env": [{"name": "COORDINATOR_HOST", "value": "x"}]},
        ],
        "volumes": [{"emptyDir": {}, "name": CERTS_VOLUME}],
    });
    let mesh = settings("");
    assert_eq!(inject(&mut spec, Some(&mesh)), []);
    assert_eq!(
        names(&spec),
        [
            "contrast-initializer",
            "contrast-service-mesh",
            "migrate",
            "app"
        ]
    );
    assert_eq!(spec["initContainers"][0]["image"], "init:2");
    assert_eq!(
        spec["initContainers"][1]["securityContext"]["privileged"],
        false
    );
    assert_eq!(spec["volumes"][0]["emptyDir"]["medium"], "Memory");
    assert_eq!(
        spec["containers"][0]["volumeMounts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let once = spec.clone();
    inject(&mut spec, Some(&mesh));
    assert_eq!(spec, once);
}

#[test]
fn a_skipped_initializer_stays_the_users_and_learns_the_coordinator() {
    let mut spec = json!({
        "initContainers": [{
            "env": [{"name": "COORDINATOR_HOST", "value": "mine"}],
            "image": "own", "name": "contrast-initializer",
            "volumeMounts": [{"mountPath": "/tls-config", "name": CERTS_VOLUME}],
        }],
        "containers": [{"name": "app"}],
        "volumes": [{"emptyDir": {}, "name": CERTS_VOLUME}],
    });
    let link = link();
    let injection = Injection {
        initializer_image: None,
        mesh: None,
        coordinator: &link,
        renew_seconds: 0,
        attestation_agent: false,
        claim_templates: &[],
    };
    assert_eq!(injection.apply(&mut spec, "spec"), []);
    let container = &spec["initContainers"][0];
    assert_eq!(container["image"], "own");
    assert_eq!(container["env"][0]["value"], "mine");
    assert_eq!(container["env"][1]["value"], "a,b");
    assert_eq!(spec["volumes"][0]["emptyDir"]["medium"], "Memory");
    // Nothing at all without an initializer.
    let mut bare = json!({"containers": [{"name": "app"}]});
    assert_eq!(injection.apply(&mut bare, "spec"), []);
    assert_eq!(bare, json!({"containers": [{"name": "app"}]}));
}

#[test]
fn a_mesh_needs_an_initializer() {
    let (link, mesh) = (link(), settings(""));
    let injection = Injection {
        initializer_image: None,
        mesh: Some(("mesh:2", &mesh)),
        coordinator: &link,
        renew_seconds: 0,
        attestation_agent: false,
        claim_templates: &[],
    };
    let mut spec = json!({"containers": [{"name": "app"}]});
    assert_eq!(
        injection.apply(&mut spec, "spec")[0].code,
        codes::MESH_WITHOUT_INITIALIZER
    );
}

#[test]
fn names_volumes_and_paths_that_are_taken() {
    for (spec, code, field) in [
        (
            json!({"containers": [{"name": "contrast-initializer"}]}),
            codes::NAME_TAKEN,
            "spec.containers[0].name",
        ),
        (
            json!({"containers": [{"name": "a"}], "volumes": [{"name": CERTS_VOLUME, "hostPath": {"path": "/x"}}]}),
            codes::VOLUME_TAKEN,
            "spec.volumes[0]",
        ),
        (
            json!({"containers": [{"name": "a", "volumeMounts": [{"name": "b", "mountPath": "/tls-config/"}]}]}),
            codes::MOUNT_TAKEN,
            "spec.containers[0].volumeMounts[0].mountPath",
        ),
        (
            json!({"containers": [{"name": "a", "volumeMounts": [{"name": "b", "mountPath": "/x/../tls-config/key.pem"}]}]}),
            codes::MOUNT_TAKEN,
            "spec.containers[0].volumeMounts[0].mountPath",
        ),
    ] {
        let findings = inject(&mut spec.clone(), None);
        let found: Vec<_> = findings
            .iter()
            .map(|f| (f.code, f.field.as_deref()))
            .collect();
        assert_eq!(found, [(code, Some(field))], "{spec}");
    }
    let mut beside = json!({"containers": [{"name": "a", "volumeMounts": [{"name": "b", "mountPath": "/tls-config-x"}]}]});
    assert_eq!(inject(&mut beside, None), []);
}

#[test]
fn volumes_without_a_source_are_empty_dirs() {
    for volume in [
        json!({"name": CERTS_VOLUME}),
        json!({"name": CERTS_VOLUME, "emptyDir": null}),
        json!({"name": CERTS_VOLUME, "emptyDir": {"sizeLimit": "1Mi"}}),
    ] {
        let mut spec = json!({"containers": [{"name": "a"}], "volumes": [volume]});
        assert_eq!(inject(&mut spec, None), []);
        assert_eq!(spec["volumes"][0]["emptyDir"]["medium"], "Memory");
    }
}

#[test]
fn a_sidecar_without_annotation_is_kept_and_named() {
    let mut spec = json!({"containers": [{"name": "a"}], "initContainers": [{"name": "contrast-service-mesh"}]});
    let findings = inject(&mut spec, None);
    assert_eq!(findings[0].code, codes::MESH_KEPT);
    assert_eq!(
        names(&spec),
        ["contrast-initializer", "contrast-service-mesh", "a"]
    );
}

#[test]
fn owners_go_into_the_coordinators_container() {
    let mut spec = json!({"containers": [{"name": "log"}, {"name": "coordinator", "env": [{"name": "NACRE_OWNERS", "value": "old"}]}]});
    bind_owners(
        &mut spec,
        "spec",
        1,
        &["bb".to_owned(), "aa".to_owned(), "bb".to_owned()],
    )
    .unwrap();
    assert_eq!(
        spec["containers"][1]["env"],
        json!([{"name": "NACRE_OWNERS", "value": "1:aa,bb"}])
    );
    bind_owners(&mut spec, "spec", 1, &[]).unwrap();
    assert_eq!(spec["containers"][1]["env"], json!([]));
    let mut single = json!({"containers": [{"name": "c"}]});
    bind_owners(&mut single, "spec", 2, &["aa".to_owned()]).unwrap();
    assert_eq!(single["containers"][0]["env"][0]["value"], "2:aa");
    let mut two = json!({"containers": [{"name": "c"}, {"name": "d"}]});
    let finding = bind_owners(&mut two, "spec", 1, &["aa".to_owned()]).unwrap_err();
    assert_eq!(finding.code, codes::COORDINATOR_CONTAINER);
}

#[test]
fn the_coordinator_learns_of_the_agent_and_forgets_it_again() {
    let env = |spec: &Value| spec["containers"][0]["env"].clone();
    let mut spec = json!({"containers": [{"name": "c"}]});
    bind_evidence(&mut spec, "spec", false).unwrap();
    assert_eq!(spec, json!({"containers": [{"name": "c"}]}));
    for _ in 0..2 {
        bind_evidence(&mut spec, "spec", true).unwrap();
        assert_eq!(
            env(&spec),
            json!([{"name": "NACRE_EVIDENCE", "value": "coco-aa"}])
        );
    }
    bind_evidence(&mut spec, "spec", false).unwrap();
    assert_eq!(env(&spec), json!([]));
    for (value, agent, expected) in [
        // The agent at another place, the kernel's interfaces: what fits the platform stays.
        (
            "coco-aa=http://127.0.0.1:1/e",
            true,
            Some("coco-aa=http://127.0.0.1:1/e"),
        ),
        ("sev-guest", false, Some("sev-guest")),
        ("sev-guest", true, Some("coco-aa")),
        ("coco-aa=http://127.0.0.1:1/e", false, None),
    ] {
        let entry = json!({"name": "NACRE_EVIDENCE", "value": value});
        let mut spec = json!({"containers": [{"name": "c", "env": [entry]}]});
        bind_evidence(&mut spec, "spec", agent).unwrap();
        assert_eq!(env(&spec)[0]["value"].as_str(), expected, "{value} {agent}");
    }
    let mut two = json!({"containers": [{"name": "c"}, {"name": "d"}]});
    let finding = bind_evidence(&mut two, "spec", true).unwrap_err();
    assert_eq!(finding.code, codes::COORDINATOR_CONTAINER);
}

#[test]
fn a_renewer_stands_between_initializer_and_mesh() {
    let (link, mesh) = (link(), settings(""));
    let mut spec =
        json!({"containers": [{"name": "app"}], "initContainers": [{"name": "migrate"}]});
    let mut injection = Injection {
        initializer_image: Some("init:2"),
        mesh: Some(("mesh:2", &mesh)),
        coordinator: &link,
        renew_seconds: 3600,
        attestation_agent: true,
        claim_templates: &[],
    };
    for _ in 0..2 {
        assert_eq!(injection.apply(&mut spec, "spec"), []);
        assert_eq!(
            names(&spec),
            [
                "contrast-initializer",
                "nacre-renewer",
                "contrast-service-mesh",
                "migrate",
                "app"
            ]
        );
    }
    let (first, renewer) = (&spec["initContainers"][0], &spec["initContainers"][1]);
    assert_eq!(renewer["image"], "init:2");
    assert_eq!(renewer["restartPolicy"], "Always");
    // What the initializer is told, and how often.
    let mut expected = first["env"].as_array().unwrap().clone();
    assert_eq!(
        expected.last().unwrap(),
        &json!({"name": "NACRE_EVIDENCE", "value": "coco-aa"})
    );
    expected.push(json!({"name": "NACRE_RENEW_SECONDS", "value": "3600"}));
    assert_eq!(renewer["env"], json!(expected));
    assert_eq!(
        renewer["volumeMounts"],
        json!([{"name": CERTS_VOLUME, "mountPath": "/tls-config"}])
    );
    // It is never behind the gate, and goes when nobody asks for it any more.
    let image = |_: &str| None::<Argv<'_>>;
    wrap_in_gate(&mut spec, "spec", &image);
    assert!(spec["initContainers"][1].get("command").is_none());
    injection.renew_seconds = 0;
    injection.apply(&mut spec, "spec");
    assert!(!names(&spec).contains(&"nacre-renewer"));
}

#[test]
fn an_unattested_coordinator_is_allowed_only_where_none_is_known() {
    let env = |link: &CoordinatorLink| {
        let mut spec = json!({"containers": [{"name": "app"}]});
        let injection = Injection {
            initializer_image: Some("init:2"),
            mesh: None,
            coordinator: link,
            renew_seconds: 0,
            attestation_agent: false,
            claim_templates: &[],
        };
        injection.apply(&mut spec, "spec");
        spec["initContainers"][0]["env"].to_string()
    };
    let mut link = link();
    let allowed = "NACRE_ALLOW_UNATTESTED_COORDINATOR";
    assert!(!env(&link).contains(allowed));
    link.policy_hashes.clear();
    link.reference = None;
    assert!(env(&link).contains(allowed));
    link.allow_unattested = false;
    assert!(!env(&link).contains(allowed));
}

#[test]
fn what_an_earlier_run_told_a_manual_initializer_is_taken_back() {
    let mut spec = json!({
        "initContainers": [{"name": "contrast-initializer", "env": [
            {"name": "NACRE_ALLOW_UNATTESTED_COORDINATOR", "value": "true"},
            {"name": "NACRE_EVIDENCE", "value": "coco-aa"},
            {"name": "MINE", "value": "x"},
        ]}],
        "containers": [],
    });
    let link = link();
    let injection = Injection {
        initializer_image: None,
        mesh: None,
        coordinator: &link,
        renew_seconds: 0,
        attestation_agent: false,
        claim_templates: &[],
    };
    injection.apply(&mut spec, "spec");
    let entries = spec["initContainers"][0]["env"].as_array().unwrap();
    let names: Vec<_> = entries
        .iter()
        .map(|e| e["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "MINE",
            "COORDINATOR_HOST",
            "NACRE_COORDINATOR_POLICY_HASH",
            "NACRE_COORDINATOR_REFERENCE"
        ]
    );
}

#[test]
fn the_gate_wraps_what_would_have_run() {
    let entrypoint = ["/app".to_owned()];
    let cmd = ["serve".to_owned(), "$(X)".to_owned()];
    let image = |name: &str| match name {
        "full" => Some(Argv {
            entrypoint: &entrypoint,
            cmd: &cmd,
        }),
        "bare" => Some(Argv {
            entrypoint: &[],
            cmd: &[],
        }),
        _ => None,
    };
    for (container, command, args) in [
        (
            json!({"image": "full"}),
            json!([GATE_PATH, "--", "/app"]),
            json!(["serve", "$$(X)"]),
        ),
        (
            json!({"image": "full", "args": ["x"]}),
            json!([GATE_PATH, "--", "/app"]),
            json!(["x"]),
        ),
        (
            json!({"image": "full", "command": ["/y"]}),
            json!([GATE_PATH, "--", "/y"]),
            Value::Null,
        ),
        (
            json!({"image": "full", "command": ["/y"], "args": ["$(Z)"]}),
            json!([GATE_PATH, "--", "/y"]),
            json!(["$(Z)"]),
        ),
    ] {
        let mut spec = json!({"containers": [container], "initContainers": [{"name": "contrast-initializer", "image": "full"}]});
        assert_eq!(wrap_in_gate(&mut spec, "spec", &image), []);
        assert_eq!(spec["containers"][0]["command"], command);
        assert_eq!(
            spec["containers"][0]
                .get("args")
                .cloned()
                .unwrap_or_default(),
            args
        );
        assert!(spec["initContainers"][0].get("command").is_none());
        let once = spec.clone();
        wrap_in_gate(&mut spec, "spec", &image);
        assert_eq!(spec, once);
    }
    let mut bare = json!({"containers": [{"name": "a", "image": "bare"}]});
    assert_eq!(
        wrap_in_gate(&mut bare, "spec", &image)[0].code,
        codes::GATE_NO_COMMAND
    );
}

#[test]
fn grammar_errors_say_where() {
    let object = json!({"metadata": {"annotations": {
        "nacre.dev/servicemesh-egress": "a#10.0.0.1:80#b:80",
        "nacre.dev/servicemesh-ingress": "a#80#maybe",
    }}});
    let (annotations, _) = Annotations::read(&object, &TemplatePath::new([]));
    let findings = mesh_settings(&annotations, "td").unwrap_err();
    let messages: Vec<_> = findings.iter().map(|f| f.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "annotation servicemesh-ingress: at character 6: \"maybe\" is not true or false",
            "annotation servicemesh-egress: at character 3: 10.0.0.1 is outside 127.0.0.0/8: the listener takes plain text and must stay on loopback",
        ]
    );
    assert_eq!(
        findings[1].field.as_deref(),
        Some("metadata.annotations[\"nacre.dev/servicemesh-egress\"]")
    );
}

#[test]
fn the_admin_endpoint_needs_a_port_of_its_own() {
    for (admin, egress, taken) in [
        (Some("15006"), None, true),
        (Some("9901"), Some("b#127.0.0.2:9901#c:1"), true),
        (None, Some("b#127.0.0.1:15090#c:1"), true),
        (None, Some("b#127.0.0.2:15090#c:1"), false),
        (Some("9901"), Some("b#127.0.0.1:15090#c:1"), false),
    ] {
        let mut map = serde_json::Map::new();
        let pairs = [
            ("servicemesh-admin-interface-port", admin),
            ("servicemesh-egress", egress),
        ];
        for (name, value) in pairs {
            if let Some(value) = value {
                map.insert(format!("nacre.dev/{name}"), json!(value));
            }
        }
        let object = json!({"metadata": {"annotations": map}});
        let (annotations, _) = Annotations::read(&object, &TemplatePath::new([]));
        let found = match mesh_settings(&annotations, "td") {
            Ok(_) => Vec::new(),
            Err(findings) => findings.into_iter().map(|finding| finding.code).collect(),
        };
        let expected = if taken {
            vec![codes::MESH_PORT_TAKEN]
        } else {
            Vec::new()
        };
        assert_eq!(found, expected, "{admin:?} {egress:?}");
    }
}
