//! Who may reach what: reports, keys, and values that the host chooses.

use serde_json::json;

use crate::common::{errors, mesh, set, small};

#[test]
fn only_our_containers_reach_the_report_source() {
    let mut case = mesh();
    let mounts = case.spec["containers"][0]["volumeMounts"]
        .as_array_mut()
        .unwrap();
    mounts.push(json!({"name": "sev", "mountPath": "/dev/sev-guest"}));
    assert_eq!(errors(&case)[0].0, "NCR0512");
    let mut case = mesh();
    for (context, refused) in [
        (json!({"privileged": true}), true),
        (json!({"capabilities": {"add": ["cap_sys_admin"]}}), true),
        (json!({"capabilities": {"add": ["ALL"]}}), true),
        (json!({"capabilities": {"add": ["NET_ADMIN"]}}), false),
        (
            json!({"capabilities": {"add": ["SYS_ADMIN"], "drop": ["SYS_ADMIN"]}}),
            false,
        ),
    ] {
        case.spec["containers"][0]["securityContext"] = context.clone();
        let found = case.with(nacre_policy::generate).err().unwrap_or_default();
        let named = found.iter().any(|f| f.code.to_string() == "NCR0512");
        assert_eq!(named, refused, "{context}");
    }
}

#[test]
fn variables_that_decide_need_consent() {
    for name in [
        "GLIBC_TUNABLES",
        "_JAVA_OPTIONS",
        "OPENSSL_CONF",
        "PYTHONHOME",
        "PERLLIB",
        "DOTNET_STARTUP_HOOKS",
        "NODE_EXTRA_CA_CERTS",
        "REQUESTS_CA_BUNDLE",
        "ld_library_path",
        "no_proxy",
        "PATH",
    ] {
        let mut case = small();
        let source = json!({"secretKeyRef": {"name": "s", "key": "k"}});
        set(
            &mut case,
            "/containers/0/env",
            json!([{"name": name, "valueFrom": source}]),
        );
        assert_eq!(errors(&case)[0].0, "NCR0508", "{name}");
        case.allow_secret_env = vec![name.to_owned()];
        case.policy();
    }
    let mut case = small();
    let source = json!({"secretKeyRef": {"name": "s", "key": "k"}});
    let password = json!({"name": "DATABASE_PASSWORD", "valueFrom": source});
    set(&mut case, "/containers/0/env", json!([password]));
    case.policy();
    // A Secret's value as a part of another variable.
    for (name, refused) in [("LD_PRELOAD", true), ("HTTPS_PROXY", true), ("URL", false)] {
        let composed = json!({"name": name, "value": "x://$(DATABASE_PASSWORD)/y"});
        set(&mut case, "/containers/0/env", json!([password, composed]));
        if refused {
            let at = "spec.containers[0].env[1].value".to_owned();
            assert_eq!(errors(&case), [("NCR0508".to_owned(), at)]);
            case.allow_secret_env = vec![name.to_owned()];
        }
        let findings = case.policy().findings.into_iter();
        let fields: Vec<_> = findings
            .filter(|finding| finding.code.to_string() == "NCR0507")
            .filter_map(|finding| finding.field)
            .collect();
        assert_eq!(fields.len(), 2, "{name}: {fields:?}");
        case.allow_secret_env.clear();
    }
}

#[test]
fn the_certificates_volume_must_be_guest_memory() {
    let mut case = mesh();
    case.spec["volumes"][0] = json!({"name": "contrast-tls-certs", "emptyDir": {}});
    assert_eq!(errors(&case)[0].0, "NCR0513");
    // A claim of that name takes the volume's place.
    let mut case = mesh();
    case.claim_templates = vec!["contrast-tls-certs".to_owned()];
    assert_eq!(errors(&case)[0].0, "NCR0513");
}

#[test]
fn a_secrets_value_is_nowhere() {
    // The generator sees names only; the policy holds the name and a pattern for everything.
    let mut case = small();
    case.secrets
        .insert("s".to_owned(), vec!["token".to_owned()]);
    set(
        &mut case,
        "/containers/0/envFrom",
        json!([{"prefix": "APP_", "secretRef": {"name": "s"}}]),
    );
    let policy = case.policy();
    assert!(policy.text.contains("\"APP_token\": \"^[\\\\s\\\\S]*$\""));
    assert!(
        policy
            .findings
            .iter()
            .any(|f| f.code.to_string() == "NCR0507")
    );
    case.configure = |input| input.strict = true;
    assert_eq!(errors(&case)[0].0, "NCR0507");
}
