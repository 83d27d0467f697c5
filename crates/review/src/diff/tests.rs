use nacre_krm::Stream;
use nacre_manifest::{
    ChipId, HostDataBinding, Identity, KeyDigest, LaunchMeasurement, Manifest, PolicyEntry,
    PolicyHash, Product, Profile, SnpReference, Tcb,
};
use nacre_workload::kinds::Kinds;

use super::*;

fn set(yaml: &str) -> RenderedSet {
    let stream = Stream::parse(yaml).unwrap();
    RenderedSet::read([(Some("all.yml"), &stream)], &Kinds::default(), "default")
}

const WEB: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  annotations:
    nacre.dev/sans: shop.example
    example.com/note: one
spec:
  template:
    metadata:
      annotations:
        io.katacontainers.config.agent.policy: cG9saWN5IG9uZQ==
    spec:
      runtimeClassName: contrast-cc-aks-clh-snp-00000000
      initContainers:
        - name: contrast-initializer
          image: registry.example/initializer:v1@sha256:1111111111111111111111111111111111111111111111111111111111111111
      containers:
        - name: web
          image: registry.example/web:1@sha256:2222222222222222222222222222222222222222222222222222222222222222
          command: ["/web"]
          args: ["--port", "8080"]
          env:
            - {name: LOG_LEVEL, value: info}
            - {name: TOKEN, valueFrom: {secretKeyRef: {name: web, key: token}}}
          securityContext:
            capabilities: {drop: [ALL]}
            readOnlyRootFilesystem: true
          volumeMounts:
            - {name: data, mountPath: /data}
      volumes:
        - {name: data, emptyDir: {medium: Memory}}
"#;

fn changed(edits: &[(&str, &str)]) -> Diff {
    let mut yaml = WEB.to_owned();
    for (from, to) in edits {
        assert!(yaml.contains(from), "{from}");
        yaml = yaml.replace(from, to);
    }
    sets(&set(WEB), &set(&yaml))
}

/// Lines of the text form below the heading of the workload.
fn lines(edits: &[(&str, &str)]) -> Vec<String> {
    let text = changed(edits).text();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("~ shop/Deployment/web"), "{text}");
    lines.map(str::to_owned).collect()
}

#[test]
fn the_same_set_is_not_different() {
    let diff = sets(&set(WEB), &set(WEB));
    assert!(diff.is_empty());
    assert_eq!(diff.text(), "");
    assert_eq!(diff.markdown(), "No difference in meaning.\n");
    assert_eq!(diff.json()["different"], false);
}

#[test]
fn comments_order_and_annotations_of_others_mean_nothing() {
    let diff = changed(&[
        ("example.com/note: one", "example.com/note: two"),
        (
            "command: [\"/web\"]",
            "command:\n            - /web # the program",
        ),
    ]);
    assert!(diff.is_empty(), "{}", diff.text());
}

#[test]
fn each_kind_of_change_has_its_words() {
    let two = "2".repeat(64);
    let three = "3".repeat(64);
    assert_eq!(
        lines(&[("web:1@sha256:2222", "web:2@sha256:2222"), (&two, &three)]),
        [
            "    container web: image tag: 1 → 2",
            &format!("    container web: image digest: sha256:{two} → sha256:{three}"),
        ]
    );
    assert_eq!(
        lines(&[("value: info", "value: debug")]),
        ["    container web: env LOG_LEVEL: info → debug"]
    );
    assert_eq!(
        lines(&[("[\"/web\"]", "[\"/bin/sh\", \"-c\"]")]),
        ["    container web: command: [\"/web\"] → [\"/bin/sh\",\"-c\"]"]
    );
    assert_eq!(
        lines(&[("{drop: [ALL]}", "{drop: [ALL], add: [NET_ADMIN]}")]),
        ["  ! + container web: securityContext.capabilities.add: NET_ADMIN"]
    );
    assert_eq!(
        lines(&[("{drop: [ALL]}", "{drop: []}")]),
        ["  ! - container web: securityContext.capabilities.drop: ALL"]
    );
    assert_eq!(
        lines(&[("readOnlyRootFilesystem: true", "privileged: true")]),
        [
            "  ! - container web: securityContext.readOnlyRootFilesystem: true",
            "  ! + container web: securityContext.privileged: true",
        ]
    );
    assert_eq!(
        lines(&[("mountPath: /data", "mountPath: /var/data")]),
        [
            "    - container web: volumeMounts /data: {\"name\":\"data\",\"mountPath\":\"/data\"}",
            "  ! + container web: volumeMounts /var/data: {\"name\":\"data\",\"mountPath\":\"/var/data\"}",
        ]
    );
    assert_eq!(
        lines(&[(
            "runtimeClassName:",
            "hostNetwork: true\n      runtimeClassName:"
        )]),
        ["  ! + hostNetwork: true"]
    );
    assert_eq!(
        lines(&[(
            "nacre.dev/sans: shop.example",
            "nacre.dev/sans: other.example"
        )]),
        ["    annotation nacre.dev/sans: shop.example → other.example"]
    );
    assert_eq!(
        lines(&[("key: token", "key: other")]),
        [
            "    container web: env TOKEN: from {\"secretKeyRef\":{\"name\":\"web\",\"key\":\"token\"}} → from {\"secretKeyRef\":{\"name\":\"web\",\"key\":\"other\"}}"
        ]
    );
}

#[test]
fn an_image_that_loses_its_digest_is_worth_a_second_look() {
    let pinned = format!("web:1@sha256:{}", "2".repeat(64));
    let diff = changed(&[(&pinned, "web:1")]);
    assert!(diff.widens());
    assert!(
        diff.text()
            .contains("  ! - container web: image digest: sha256:2222")
    );
}

#[test]
fn a_policy_that_changed_under_the_same_pod_is_named() {
    // The text "policy two", whose SHA-256 sha256sum gives.
    let found = lines(&[("cG9saWN5IG9uZQ==", "cG9saWN5IHR3bw==")]);
    let (one, two) = (PolicyHash::of(b"policy one"), PolicyHash::of(b"policy two"));
    let shown = found[0].replace(" → ", " ");
    assert!(
        shown.contains(&one.to_string()) && shown.contains(&two.to_string()),
        "{shown}"
    );
}

#[test]
fn workloads_come_and_go() {
    let other = WEB.replace("name: web\n  namespace", "name: api\n  namespace");
    let diff = sets(&set(WEB), &set(&other));
    let first = diff.text();
    assert!(
        first.starts_with("+ shop/Deployment/api\n    + container contrast-initializer: image")
    );
    assert!(first.ends_with("- shop/Deployment/web\n"));
    let kinds: Vec<ChangeKind> = diff.groups.iter().map(|group| group.kind).collect();
    assert_eq!(kinds, [ChangeKind::Added, ChangeKind::Removed]);
}

#[test]
fn other_workloads_are_not_looked_at_until_they_become_confidential() {
    let plain = WEB.replace("contrast-cc-aks-clh-snp-00000000", "runc");
    assert!(sets(&set(&plain), &set("")).is_empty());
    assert!(
        sets(&set(WEB), &set(&plain))
            .text()
            .starts_with("- shop/Deployment/web")
    );
}

#[test]
fn configuration_is_shown_and_secrets_are_not() {
    let config = |value: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: app}}\ndata: {{mode: {value}}}\n"
        )
    };
    let diff = sets(&set(&config("a")), &set(&config("b")));
    assert_eq!(
        diff.text(),
        "~ default/ConfigMap/app\n    key mode: a → b\n"
    );

    let secret = |keys: &str| {
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: app}}\nstringData: {{{keys}}}\n")
    };
    let diff = sets(
        &set(&secret("a: hunter2")),
        &set(&secret("a: hunter3, b: hunter4")),
    );
    assert_eq!(diff.text(), "~ default/Secret/app\n    + key b: present\n");
    let all = format!("{}{}{}", diff.text(), diff.markdown(), diff.json());
    assert!(!all.contains("hunter"));
}

fn manifest() -> Manifest {
    let tcb = Tcb {
        fmc: None,
        bootloader: Some(3),
        tee: Some(0),
        snp: Some(8),
        microcode: Some(115),
    };
    let set = SnpReference {
        trusted_measurement: Some(LaunchMeasurement::from_bytes([1; 48])),
        host_data_binding: HostDataBinding::Enforced,
        minimum_tcb: tcb,
        ..SnpReference::new("aks-clh-snp", Product::Milan, 1)
    };
    let entry = PolicyEntry::new(
        Identity::new("shop", "Deployment", "web"),
        vec!["web".to_owned()],
    );
    let mut manifest = Manifest::default();
    manifest.reference_values.snp.push(set);
    manifest
        .policies
        .insert(PolicyHash::of(b"policy one"), entry);
    manifest
}

fn manifest_lines(change: impl FnOnce(&mut Manifest)) -> String {
    let mut new = manifest();
    change(&mut new);
    manifests(&manifest(), &new).text()
}

fn entry(manifest: &mut Manifest) -> &mut PolicyEntry {
    manifest.policies.values_mut().next().unwrap()
}

#[test]
fn authority_and_switches() {
    let owner = KeyDigest::of_spki(b"owner");
    assert_eq!(
        manifest_lines(|new| new.workload_owner_key_digests.push(owner)),
        format!("~ deployment\n  ! + workload owner: {owner}\n")
    );
    assert_eq!(
        manifest_lines(|new| new.insecure_unbound_first_set = true),
        "~ deployment\n  ! InsecureUnboundFirstSet: false → true\n"
    );
    assert_eq!(
        manifest_lines(|new| new.coordinator_replicas = 3),
        "~ deployment\n    CoordinatorReplicas: 1 → 3\n"
    );
}

#[test]
fn reference_values() {
    let heading = "reference values of aks-clh-snp on Milan with 1 vCPUs";
    let set = |new: &mut Manifest| new.reference_values.snp.remove(0);
    assert_eq!(
        manifest_lines(|new| new.reference_values.snp[0].minimum_tcb.snp = Some(7)),
        format!("~ {heading}\n  ! MinimumTCB.SNPVersion: 8 → 7\n")
    );
    assert_eq!(
        manifest_lines(|new| new.reference_values.snp[0].minimum_tcb.snp = Some(9)),
        format!("~ {heading}\n    MinimumTCB.SNPVersion: 8 → 9\n")
    );
    let chip = ChipId::from_bytes([5; 64]);
    assert_eq!(
        manifest_lines(|new| new.reference_values.snp[0].allowed_chip_ids.push(chip)),
        format!(
            "~ {heading}\n    + AllowedChipIDs: {}\n",
            shortened(&chip.to_string())
        )
    );
    assert!(
        manifest_lines(|new| new.reference_values.snp[0].host_data_binding = HostDataBinding::None)
            .contains("  ! HostDataBinding: enforced → none")
    );
    assert_eq!(
        manifest_lines(|new| drop(set(new))),
        format!("- {heading}\n")
    );
    let grown = manifest_lines(|new| {
        let mut other = new.reference_values.snp[0].clone();
        other.cpus = 2;
        new.reference_values.snp.push(other);
    });
    assert!(grown.starts_with("+ reference values of aks-clh-snp on Milan with 2 vCPUs\n  ! +"));
}

fn shortened(text: &str) -> String {
    format!("{} … {}", &text[..48], &text[text.len() - 48..])
}

#[test]
fn entries_of_policies() {
    assert_eq!(
        manifest_lines(|new| entry(new).sans.push("shop.example".to_owned())),
        "~ shop/Deployment/web\n    + name: shop.example\n"
    );
    assert_eq!(
        manifest_lines(|new| entry(new).workload_secret_id = Some("other".to_owned())),
        "~ shop/Deployment/web\n  ! + WorkloadSecretID: other\n"
    );
    assert_eq!(
        manifest_lines(|new| entry(new).profile = Some(Profile::Debug)),
        "~ shop/Deployment/web\n  ! profile: strict → debug\n"
    );
    let replaced = manifest_lines(|new| {
        let old = new.policies.pop_first().unwrap().1;
        new.policies.insert(PolicyHash::of(b"policy two"), old);
    });
    let (one, two) = (PolicyHash::of(b"policy one"), PolicyHash::of(b"policy two"));
    assert_eq!(
        replaced,
        format!("~ shop/Deployment/web\n    policy: {one} → {two}\n")
    );
    assert_eq!(
        manifest_lines(|new| new.policies.clear()),
        "- shop/Deployment/web\n"
    );
}

#[test]
fn a_manifest_in_the_set_is_compared_too_and_belongs_to_its_workload() {
    let with = |manifest: &Manifest, yaml: &str| {
        let text = String::from_utf8(manifest.to_bytes())
            .unwrap()
            .replace('\n', "\n    ");
        format!(
            "{yaml}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: nacre-manifest}}\n\
             data:\n  manifest.json: |\n    {text}\n"
        )
    };
    let mut new = manifest();
    entry(&mut new).sans.push("shop.example".to_owned());
    let edited = WEB.replace("value: info", "value: debug");
    let diff = sets(&set(&with(&manifest(), WEB)), &set(&with(&new, &edited)));
    assert_eq!(
        diff.text(),
        "~ shop/Deployment/web\n    container web: env LOG_LEVEL: info → debug\n    \
         + name: shop.example\n"
    );
}

#[test]
fn what_was_rendered_cannot_steer_a_terminal_or_break_a_table() {
    let diff = changed(&[("value: info", r#"value: "\e[2Jx|`y`\u202e\nz""#)]);
    let text = diff.text();
    assert!(
        !text.contains('\u{1b}') && !text.contains('\u{202e}'),
        "{text:?}"
    );
    assert_eq!(text.lines().count(), 2);
    let markdown = diff.markdown();
    assert!(!markdown.contains('\u{1b}') && !markdown.contains('\u{202e}'));
    let row = markdown.lines().find(|line| line.contains("LOG")).unwrap();
    assert_eq!(
        row.matches('|').count() - row.matches("\\|").count(),
        5,
        "{row}"
    );
    assert!(row.contains("``\\u{1b}[2Jx\\|`y`\\u{202e}⏎z``"), "{row}");
}

#[test]
fn the_json_form_says_the_same() {
    let json = changed(&[("value: info", "value: debug")]).json();
    assert_eq!(json["different"], true);
    assert_eq!(json["widens"], false);
    assert_eq!(
        json["groups"],
        serde_json::json!([{
            "subject": "shop/Deployment/web",
            "kind": "changed",
            "changes": [{
                "what": "container web: env LOG_LEVEL",
                "kind": "changed",
                "old": "info",
                "new": "debug",
                "widens": false,
            }],
        }])
    );
}
