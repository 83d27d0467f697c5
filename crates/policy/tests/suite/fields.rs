//! Pod fields: what is refused is named, what is supported passes its own requests and changes
//! the policy.

use nacre_policy::{ServicePort, ServiceRef, Target, self_check, support};
use serde_json::{Value, json};

use crate::common::{errors, set, small};

#[test]
fn refused_fields_are_named() {
    for (pointer, value, code, field) in [
        ("/hostNetwork", json!(true), "NCR0501", "spec.hostNetwork"),
        ("/hostPID", json!(true), "NCR0501", "spec.hostPID"),
        ("/hostIPC", json!(true), "NCR0501", "spec.hostIPC"),
        ("/hostUsers", json!(false), "NCR0501", "spec.hostUsers"),
        (
            "/ephemeralContainers",
            json!([{"name": "x"}]),
            "NCR0501",
            "spec.ephemeralContainers",
        ),
        ("/notAField", json!(1), "NCR0501", "spec.notAField"),
        (
            "/containers/0/notAField",
            json!(1),
            "NCR0501",
            "spec.containers[0].notAField",
        ),
        (
            "/containers/0/image",
            json!("web:1"),
            "NCR0503",
            "spec.containers[0].image",
        ),
        (
            "/containers/0/stdin",
            json!(true),
            "NCR0521",
            "spec.containers[0].stdin",
        ),
        (
            "/containers/0/securityContext",
            json!({"runAsNonRoot": true, "runAsUser": 0}),
            "NCR0506",
            "spec.containers[0].securityContext",
        ),
        (
            "/containers/0/securityContext",
            json!({"procMount": "Unmasked"}),
            "NCR0501",
            "spec.containers[0].securityContext.procMount",
        ),
        (
            "/containers/0/securityContext",
            json!({"capabilities": {"add": ["FLY"]}}),
            "NCR0501",
            "spec.containers[0].securityContext.capabilities.add[0]",
        ),
        (
            "/containers/0/resources",
            json!({"limits": {"nvidia.com/gpu": 1}}),
            "NCR0501",
            "spec.containers[0].resources.limits",
        ),
        (
            "/containers/0/volumeMounts",
            json!([{"name": "x", "mountPath": "/x"}]),
            "NCR0502",
            "spec.containers[0].volumeMounts[0].name",
        ),
        (
            "/volumes",
            json!([{"name": "x", "image": {"reference": "y"}}]),
            "NCR0501",
            "spec.volumes[0].image",
        ),
        (
            "/containers/0/env",
            json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "no", "key": "k"}}}]),
            "NCR0509",
            "spec.containers[0].env[0].valueFrom.configMapKeyRef",
        ),
        (
            "/containers/0/envFrom",
            json!([{"secretRef": {"name": "no"}}]),
            "NCR0509",
            "spec.containers[0].envFrom[0]",
        ),
        (
            "/containers/0/env",
            json!([{"name": "LD_PRELOAD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
            "NCR0508",
            "spec.containers[0].env[0].valueFrom.secretKeyRef",
        ),
        (
            "/containers/0/command",
            json!(["/app", "--port", 8080]),
            "NCR0501",
            "spec.containers[0].command",
        ),
        (
            "/containers/0/args",
            json!("x y"),
            "NCR0501",
            "spec.containers[0].args",
        ),
        (
            "/containers/0/livenessProbe",
            json!({"exec": {"command": ["/probe", true]}}),
            "NCR0501",
            "spec.containers[0].livenessProbe.exec.command",
        ),
        (
            "/volumes",
            json!([{"name": "x", "hostPath": {"path": "/dev//sev-guest"}}]),
            "NCR0502",
            "spec.volumes[0].hostPath.path",
        ),
        (
            "/volumes",
            json!([{"name": "x", "hostPath": {"path": "/./proc/1"}}]),
            "NCR0502",
            "spec.volumes[0].hostPath.path",
        ),
        (
            "/containers/0/env",
            json!([{"name": "HTTPS_PROXY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
            "NCR0508",
            "spec.containers[0].env[0].valueFrom.secretKeyRef",
        ),
    ] {
        let mut case = small();
        set(&mut case, pointer, value);
        let errors = errors(&case);
        assert!(
            errors.contains(&(code.to_owned(), field.to_owned())),
            "{pointer}: {errors:?}"
        );
    }
}

#[test]
fn the_file_for_termination_messages_is_the_kubelets() {
    let mount = |path: &str| json!([{"name": "v", "mountPath": path}]);
    for (own, path) in [
        (None, "/dev/termination-log"),
        (None, "/dev/termination-log/"),
        // The report does not speak of the host's content there.
        (Some("/tmp/last"), "/dev/termination-log"),
        (Some("/tmp/last"), "/tmp/last"),
    ] {
        let mut case = small();
        set(
            &mut case,
            "/volumes",
            json!([{"name": "v", "emptyDir": {}}]),
        );
        set(&mut case, "/containers/0/volumeMounts", mount(path));
        set(
            &mut case,
            "/containers/0/terminationMessagePath",
            json!(own),
        );
        let field = "spec.containers[0].volumeMounts[0].mountPath".to_owned();
        assert_eq!(errors(&case), [("NCR0502".to_owned(), field)], "{path}");
        set(&mut case, "/containers/0/volumeMounts", mount("/tmp/other"));
        let policy = case.policy();
        case.with(|input| self_check(&policy, input)).unwrap();
    }
}

#[test]
fn supported_fields_pass_and_count() {
    let plain = small().policy().text;
    for (pointer, value, counts) in [
        ("/containers/0/workingDir", json!("/srv"), true),
        ("/containers/0/command", json!(["/bin/a", "$(HOME)"]), true),
        ("/containers/0/args", json!(["b"]), true),
        ("/containers/0/tty", json!(true), true),
        (
            "/containers/0/env",
            json!([{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)2"}]),
            true,
        ),
        (
            "/containers/0/env",
            json!([{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}]),
            true,
        ),
        (
            "/containers/0/env",
            json!([{"name": "U", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}]),
            true,
        ),
        (
            "/containers/0/env",
            json!([{"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}}]),
            true,
        ),
        (
            "/containers/0/env",
            json!([{"name": "M", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}}]),
            true,
        ),
        (
            "/containers/0/env",
            json!([{"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]),
            true,
        ),
        (
            "/containers/0/securityContext",
            json!({"runAsUser": 7, "runAsGroup": 8}),
            true,
        ),
        (
            "/containers/0/securityContext",
            json!({"readOnlyRootFilesystem": true}),
            true,
        ),
        (
            "/containers/0/securityContext",
            json!({"allowPrivilegeEscalation": false}),
            true,
        ),
        (
            "/containers/0/securityContext",
            json!({"privileged": true}),
            true,
        ),
        (
            "/containers/0/securityContext",
            json!({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}),
            true,
        ),
        (
            "/containers/0/livenessProbe",
            json!({"exec": {"command": ["/probe"]}, "periodSeconds": 3}),
            true,
        ),
        (
            "/containers/0/lifecycle",
            json!({"preStop": {"sleep": {"seconds": 3}}, "postStart": {"httpGet": {"port": 1}}}),
            false,
        ),
        (
            "/containers/0/lifecycle",
            json!({"preStop": {"exec": {"command": ["/stop"]}}}),
            true,
        ),
        (
            "/containers/0/terminationMessagePath",
            json!("/tmp/message"),
            true,
        ),
        ("/containers/0/ports", json!([{"containerPort": 80}]), false),
        (
            "/containers/0/resources",
            json!({"limits": {"cpu": 1}}),
            false,
        ),
        ("/containers/0/imagePullPolicy", json!("Always"), false),
        (
            "/securityContext",
            json!({"runAsUser": 5, "fsGroup": 9, "supplementalGroups": [11]}),
            true,
        ),
        (
            "/securityContext",
            json!({"sysctls": [{"name": "net.core.somaxconn", "value": "1024"}]}),
            true,
        ),
        (
            "/securityContext",
            json!({"seccompProfile": {"type": "RuntimeDefault"}}),
            false,
        ),
        ("/hostname", json!("fixed"), true),
        ("/shareProcessNamespace", json!(true), true),
        ("/automountServiceAccountToken", json!(false), true),
        ("/dnsPolicy", json!("ClusterFirst"), false),
        (
            "/hostAliases",
            json!([{"ip": "10.0.0.1", "hostnames": ["a"]}]),
            false,
        ),
        ("/affinity", json!({}), false),
        ("/topologySpreadConstraints", json!([]), false),
        ("/resources", json!({"limits": {"cpu": 2}}), false),
        ("/priorityClassName", json!("high"), false),
    ] {
        let mut case = small();
        case.secrets.insert("s".to_owned(), vec!["k".to_owned()]);
        set(&mut case, pointer, value.clone());
        let policy = case.policy();
        case.with(|input| self_check(&policy, input))
            .unwrap_or_else(|e| panic!("{pointer} {value}: {}", e.message));
        assert_eq!(policy.text != plain, counts, "{pointer} {value}");
    }
}

#[test]
fn volumes_of_every_kind_pass_on_every_target() {
    let volumes = json!([
        {"name": "m", "emptyDir": {"medium": "Memory"}}, {"name": "d", "emptyDir": {}},
        {"name": "c", "configMap": {"name": "x"}}, {"name": "s", "secret": {"secretName": "x"}},
        {"name": "p", "projected": {"sources": [{"downwardAPI": {"items": []}}]}},
        {"name": "w", "downwardAPI": {"items": []}}, {"name": "h", "hostPath": {"path": "/var/log"}},
        {"name": "v", "persistentVolumeClaim": {"claimName": "x"}}, {"name": "n", "nfs": {"server": "a", "path": "/"}},
        {"name": "e", "ephemeral": {"volumeClaimTemplate": {}}}, {"name": "i", "csi": {"driver": "x"}},
        {"name": "g", "hostPath": {"path": "/dev/null"}},
    ]);
    let mounts: Vec<_> = ["m", "d", "c", "s", "p", "w", "h", "v", "n", "e", "i", "g"]
        .iter()
        .map(|name| json!({"name": name, "mountPath": format!("/data/{name}")}))
        .collect();
    for target in ["kata-3", "kata-4"] {
        let mut case = small();
        case.target = Target::find(target).unwrap();
        set(&mut case, "/volumes", volumes.clone());
        set(&mut case, "/containers/0/volumeMounts", json!(mounts));
        set(
            &mut case,
            "/containers/0/volumeDevices",
            json!([{"name": "v", "devicePath": "/dev/xvda"}]),
        );
        let policy = case.policy();
        case.with(|input| self_check(&policy, input))
            .unwrap_or_else(|e| panic!("{target}: {}", e.message));
    }
}

#[test]
fn tardev_is_refused_for_want_of_verity_roots() {
    let mut case = small();
    case.target = Target::find("kata-tardev").unwrap();
    let errors = errors(&case);
    assert_eq!(
        errors,
        [("NCR0504".to_owned(), "spec.containers[0].image".to_owned())]
    );
}

#[test]
fn services_give_exact_names() {
    let mut case = small();
    set(&mut case, "/enableServiceLinks", json!(true));
    let service = |name: &str, namespace: &str, headless| ServiceRef {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        ports: vec![ServicePort {
            name: Some("http".to_owned()),
            port: 8080,
            protocol: "TCP".to_owned(),
        }],
        headless,
    };
    case.services = vec![
        service("back-end", "shop", false),
        service("hidden", "shop", true),
        service("far", "other", false),
    ];
    let policy = case.policy();
    for name in [
        "BACK_END_SERVICE_HOST",
        "BACK_END_SERVICE_PORT_HTTP",
        "BACK_END_PORT_8080_TCP_ADDR",
    ] {
        assert!(policy.text.contains(name), "{name}");
    }
    assert!(!policy.text.contains("HIDDEN_") && !policy.text.contains("FAR_"));
    case.with(|input| self_check(&policy, input)).unwrap();
}

#[test]
fn kinds_name_their_pods() {
    for kind in [
        "Pod",
        "Deployment",
        "ReplicaSet",
        "StatefulSet",
        "DaemonSet",
        "Job",
        "CronJob",
        "Rollout",
    ] {
        for name in ["web", &"long-name-".repeat(5)[..49]] {
            let mut case = small();
            case.kind = kind.to_owned();
            case.name = name.to_owned();
            let policy = case.policy();
            case.with(|input| self_check(&policy, input))
                .unwrap_or_else(|e| panic!("{kind} {name}: {}", e.message));
        }
    }
}

#[test]
fn the_matrix_has_every_field() {
    let text = support::markdown();
    if std::env::var_os("NACRE_BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/support-matrix.md");
        std::fs::write(path, &text).unwrap();
    }
    for field in support::POD
        .iter()
        .chain(support::CONTAINER)
        .chain(support::VOLUME)
    {
        assert!(text.contains(&format!("`{}", field.name)), "{}", field.name);
    }
}

#[test]
fn values_are_as_narrow_as_the_pod_permits() {
    let mut case = small();
    set(
        &mut case,
        "/containers/0/resources",
        json!({"limits": {"memory": "64Mi"}}),
    );
    set(
        &mut case,
        "/containers/0/env",
        json!([
            {"name": "M", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
            {"name": "P", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "Q", "value": "x-$(P)"},
            {"name": "L", "value": "{pod}"},
        ]),
    );
    let policy = case.policy();
    for line in [
        r#""L": "^\\{pod\\}$""#,
        r#""M": "=64""#,
        r#""P": "={pod}""#,
        r#""Q": "=x-{pod}""#,
    ] {
        assert!(policy.text.contains(line), "{line}\n{}", policy.text);
    }
    case.with(|input| self_check(&policy, input)).unwrap();
}

#[test]
fn a_mount_over_a_file_of_the_runtime_replaces_it() {
    let mut case = small();
    set(
        &mut case,
        "/volumes",
        json!([{"name": "own", "emptyDir": {"medium": "Memory"}}]),
    );
    set(
        &mut case,
        "/containers/0/volumeMounts",
        json!([{"name": "own", "mountPath": "/etc/hosts"}]),
    );
    let policy = case.policy();
    case.with(|input| self_check(&policy, input)).unwrap();
    let mut session = policy.session().unwrap();
    for request in case.with(nacre_policy::request::life) {
        let mut input = request.input.clone();
        for mount in input
            .pointer_mut("/OCI/Mounts")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if mount["destination"] == "/etc/hosts" && request.container.as_deref() == Some("web") {
                let id = request.input["container_id"].as_str().unwrap();
                let file = format!("{id}-0123456789abcdef-hosts");
                mount["source"] = format!("/run/kata-containers/shared/containers/{file}").into();
                let decision = session.probe(request.message, &request.input).unwrap();
                assert!(decision.allowed);
            }
        }
        if input != request.input {
            let decision = session.probe(request.message, &input).unwrap();
            assert_eq!(decision.denial().unwrap().checks, ["mounts"]);
            return;
        }
        session.request(request.message, &request.input).unwrap();
    }
    panic!("no such mount");
}

#[test]
fn a_user_by_name_is_not_known_to_be_no_root() {
    let mut case = small();
    for entry in case.images.values_mut() {
        entry.config.user = "app".to_owned();
        entry.users = Some(nacre_imagelock::UserDatabase::parse(
            b"app:x:7:7::/:/bin/sh\n",
            b"",
        ));
    }
    case.policy();
    set(
        &mut case,
        "/containers/0/securityContext",
        json!({"runAsNonRoot": true}),
    );
    assert_eq!(errors(&case)[0].0, "NCR0506");
    set(
        &mut case,
        "/containers/0/securityContext",
        json!({"runAsNonRoot": true, "runAsUser": 7}),
    );
    case.policy();
}

#[test]
fn a_variable_with_nothing_in_it_is_still_set() {
    let mut case = small();
    set(
        &mut case,
        "/containers/0/env",
        json!([{"name": "EMPTY", "value": ""}]),
    );
    let policy = case.policy();
    let mut session = policy.session().unwrap();
    for request in case.with(nacre_policy::request::life) {
        if request.container.as_deref() == Some("web") {
            let mut input = request.input.clone();
            if let Some(env) = input
                .pointer_mut("/OCI/Process/Env")
                .and_then(Value::as_array_mut)
            {
                let own = env.iter_mut().find(|e| **e == "EMPTY=").unwrap();
                // Without the sign the agent leaves it out.
                *own = "EMPTY".into();
                let decision = session.probe(request.message, &input).unwrap();
                assert_eq!(decision.denial().unwrap().checks, ["env"]);
                return;
            }
        }
        assert!(
            session
                .request(request.message, &request.input)
                .unwrap()
                .allowed
        );
    }
    panic!("no such container");
}
