//! Inputs recorded from kustomize, kpt and Helm: untouched they come out byte for byte, and edits
//! change the lines they are about.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

use std::collections::BTreeMap;

use nacre_krm::{Path, ResourceList, Stream};
use serde_json::{Value, json};

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("data/", $name, ".stdin.yaml"))
    };
}

const KPT: &str = sample!("kpt-beta56-render-mutator");
const HELM4: &str = sample!("helm-4.3.1-post-renderer");

/// Lines only in the first text, lines only in the second.
fn changed<'a>(old: &'a str, new: &'a str) -> (Vec<&'a str>, Vec<&'a str>) {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let mut table = vec![vec![0u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            table[i][j] = if old[i] == new[j] {
                table[i + 1][j + 1] + 1
            } else {
                table[i + 1][j].max(table[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut gone, mut added) = (0, 0, Vec::new(), Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && table[i + 1][j] >= table[i][j + 1]) {
            gone.push(old[i]);
            i += 1;
        } else {
            added.push(new[j]);
            j += 1;
        }
    }
    (gone, added)
}

#[test]
fn untouched_samples_are_identical() {
    for text in [
        sample!("helm-3.17.2-post-renderer"),
        HELM4,
        sample!("kpt-beta56-eval-stdin-multidoc"),
        KPT,
        sample!("kpt-beta56-render-validator"),
        sample!("kustomize-5.8.1-container-transformer"),
        sample!("kustomize-5.8.1-generator"),
        sample!("kustomize-5.8.1-legacy-exec-plugin"),
        sample!("kustomize-5.8.1-transformer-with-nameprefix"),
        sample!("kustomize-5.8.1-validator"),
    ] {
        for text in [
            text.to_owned(),
            text.replace('\n', "\r\n"),
            format!("\u{feff}{}", text.trim_end()),
        ] {
            let stream = Stream::parse(text.as_str()).unwrap();
            assert_eq!(stream.render(&BTreeMap::new(), &[]), text);
            for document in stream.documents() {
                let value = document.value(&Path::root()).unwrap();
                assert_eq!(
                    document.rewrite(&[(Path::root(), value)]).unwrap(),
                    document.text()
                );
            }
            if let Some(list) = ResourceList::detect(&stream) {
                let list = list.unwrap();
                let items: Vec<_> = list
                    .items()
                    .into_iter()
                    .map(|item| {
                        (
                            item.base.clone(),
                            list.document().value(&item.base).unwrap(),
                        )
                    })
                    .collect();
                assert_eq!(list.render(&items, &[], None).unwrap(), text);
            }
        }
    }
}

#[test]
fn objects_are_found_in_lists() {
    let kinds = |text: &str| -> Vec<String> {
        let stream = Stream::parse(text).unwrap();
        stream
            .objects()
            .iter()
            .map(|o| {
                let document = &stream.documents()[o.document];
                document.str_at(&o.base.key("kind")).unwrap().into_owned()
            })
            .collect()
    };
    assert_eq!(
        kinds(sample!("helm-3.17.2-post-renderer")),
        ["Service", "Deployment", "ConfigMap"]
    );
    assert_eq!(
        kinds(HELM4),
        ["Deployment", "Service", "Job", "ConfigMap", "Pod"]
    );
    assert_eq!(
        kinds(sample!("kpt-beta56-eval-stdin-multidoc")),
        ["Service", "Deployment"]
    );
}

#[test]
fn an_edit_changes_its_lines_only() {
    let stream = Stream::parse(HELM4).unwrap();
    let document = &stream.documents()[0];
    let root = Path::root();
    let mut value = document.value(&root).unwrap();
    let spec = &mut value["spec"]["template"]["spec"];
    spec["runtimeClassName"] = json!("contrast-cc-metal-0123abcd");
    spec["initContainers"] =
        json!([{"name": "initializer", "image": "example.com/i:v1", "restartPolicy": "Always"}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "tls", "mountPath": "/tls"}]);
    value["spec"]["template"]["metadata"]["annotations"] = json!({"policy": "cGFja2FnZQ=="});
    let text = document.rewrite(&[(root, value)]).unwrap();
    let output = stream.render(&BTreeMap::from([(0, text)]), &[]);
    let (gone, added) = changed(HELM4, &output);
    assert_eq!(gone, ["      runtimeClassName: contrast-cc"]);
    assert_eq!(
        added,
        [
            "      annotations:",
            "        policy: cGFja2FnZQ==",
            "      runtimeClassName: contrast-cc-metal-0123abcd",
            "        volumeMounts:",
            "        - name: tls",
            "          mountPath: /tls",
            "      initContainers:",
            "      - name: initializer",
            "        image: example.com/i:v1",
            "        restartPolicy: Always",
        ]
    );
}

#[test]
fn a_function_changes_items_adds_one_and_has_results() {
    let stream = Stream::parse(KPT).unwrap();
    let list = ResourceList::detect(&stream).unwrap().unwrap();
    assert!(list.function_config().is_some());
    let items = list.items();
    let rewritten: Vec<(Path, Value)> = items
        .iter()
        .filter(|item| {
            list.document().str_at(&item.base.key("kind")).as_deref() == Some("Deployment")
        })
        .map(|item| {
            let mut value = list.document().value(&item.base).unwrap();
            value["metadata"]["annotations"]["example.com/a"] = json!("on");
            (item.base.clone(), value)
        })
        .collect();
    assert!(!rewritten.is_empty());
    let added = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "a\nb\n"}});
    let results = json!([{"message": "fine", "severity": "info"}]);
    let output = list
        .render(
            &rewritten,
            std::slice::from_ref(&added),
            Some(results.clone()),
        )
        .unwrap();
    let (gone, new) = changed(KPT, &output);
    assert_eq!(gone, [""; 0]);
    let expected = [
        vec!["      example.com/a: \"on\""; rewritten.len()],
        vec![
            "- apiVersion: v1",
            "  kind: ConfigMap",
            "  metadata:",
            "    name: m",
            "  data:",
            "    k: |",
            "      a",
            "      b",
            "results:",
            "- message: fine",
            "  severity: info",
        ],
    ];
    assert_eq!(new, expected.concat());
    // Results of an earlier function are replaced, and taken away when there are none.
    let again = Stream::parse(output).unwrap();
    let again = ResourceList::detect(&again).unwrap().unwrap();
    assert_eq!(
        again.document().value(
            &items
                .last()
                .unwrap()
                .base
                .parent()
                .unwrap()
                .index(items.len())
        ),
        Some(added)
    );
    let none = again.render(&[], &[], Some(json!([]))).unwrap();
    assert!(!none.contains("results:"));
}

#[test]
fn json_lists_stay_json() {
    let text = r#"{"apiVersion":"config.kubernetes.io/v1","kind":"ResourceList","items":[{"kind":"Pod","metadata":{"name":"a"}}],"functionConfig":{"kind":"X"}}"#;
    let stream = Stream::parse(text).unwrap();
    let list = ResourceList::detect(&stream).unwrap().unwrap();
    let pod = json!({"kind": "Pod", "metadata": {"name": "a", "labels": {"b": "yes"}}});
    let output = list
        .render(
            &[(list.items()[0].base.clone(), pod.clone())],
            &[json!({"kind": "Y"})],
            Some(json!([{"message": "m"}])),
        )
        .unwrap();
    assert_eq!(
        output,
        r#"{"apiVersion":"config.kubernetes.io/v1","kind":"ResourceList","items":[{"kind":"Pod","metadata":{"name":"a","labels":{"b":"yes"}}},{"kind":"Y"}],"functionConfig":{"kind":"X"},"results":[{"message":"m"}]}"#
    );
    assert_eq!(
        serde_json::from_str::<Value>(&output).unwrap()["items"][0],
        pod
    );
}

#[test]
fn documents_are_appended() {
    let render = |text: &str| {
        Stream::parse(text)
            .unwrap()
            .render(&BTreeMap::new(), &[json!({"a": 1}), json!({"b": "x\ny\n"})])
    };
    assert_eq!(render("k: v\n"), "k: v\n---\na: 1\n---\nb: |\n  x\n  y\n");
    assert_eq!(render("k: v"), "k: v\n---\na: 1\n---\nb: |\n  x\n  y\n");
    assert_eq!(
        render("k: |\n  v"),
        "k: |-\n  v\n---\na: 1\n---\nb: |\n  x\n  y\n"
    );
    assert_eq!(render(""), "a: 1\n---\nb: |\n  x\n  y\n");
    assert_eq!(
        render("k: v\r\n...\r\n"),
        "k: v\r\n...\r\n---\r\na: 1\r\n---\r\nb: |\r\n  x\r\n  y\r\n"
    );
}

#[test]
fn positions_point_at_fields() {
    let stream = Stream::parse(HELM4).unwrap();
    let at = |path: &str| {
        let position = stream.documents()[0].position(&path.parse().unwrap());
        (position.line, position.column)
    };
    let line = |needle: &str| {
        1 + u32::try_from(HELM4.lines().position(|l| l.contains(needle)).unwrap()).unwrap()
    };
    assert_eq!(
        at("spec.template.spec.runtimeClassName"),
        (line("runtimeClassName"), 25)
    );
    assert_eq!(
        at("spec.template.spec.containers"),
        (line("containers:"), 7)
    );
    assert_eq!(
        at("spec.template.spec.containers[0].image"),
        (line("image:"), 16)
    );
    assert_eq!(
        at("spec.template.spec.containers[0].nothing.there"),
        (line("- name: web"), 9)
    );
    assert_eq!(
        at("spec.template.metadata.labels.app"),
        (line("labels: {app"), 21)
    );
    let second = stream.documents()[1].position(&"metadata.name".parse().unwrap());
    assert_eq!((second.line, second.column), (line("kind: Service") + 2, 9));
}

#[test]
fn many_items_take_linear_time() {
    let text = |count: usize| {
        let mut text =
            "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nitems:\n".to_owned();
        for i in 0..count {
            text.push_str(&format!("- kind: Pod\n  metadata:\n    name: p{i}\n  spec:\n    containers:\n    - name: c\n      image: i\n"));
        }
        text
    };
    let time = |count: usize| {
        let stream = Stream::parse(text(count)).unwrap();
        let list = ResourceList::detect(&stream).unwrap().unwrap();
        let edits: Vec<_> = list
            .items()
            .into_iter()
            .map(|item| {
                let mut value = list.document().value(&item.base).unwrap();
                value["spec"]["runtimeClassName"] = json!("x");
                (item.base, value)
            })
            .collect();
        let start = std::time::Instant::now();
        let output = list.render(&edits, &[], None).unwrap();
        assert_eq!(output.matches("runtimeClassName: x").count(), count);
        start.elapsed().as_secs_f64()
    };
    let small = time(100).max(0.001);
    let large = time(2000);
    assert!(
        large / small < 20.0 * 5.0,
        "100 items: {small} s, 2000 items: {large} s"
    );
}

#[test]
fn hostile_texts_take_bounded_time() {
    let many =
        |count: usize, line: &dyn Fn(usize) -> String| (0..count).map(line).collect::<String>();
    let texts = [
        // Many anchors, many aliases of the first.
        format!(
            "a: &a 1\n{}",
            many(5_000, &|i| format!("k{i}: &n{i} {{x: *a}}\n"))
        ),
        // Many keys before a merge of many keys.
        format!(
            "a: &a\n{}b:\n{}  <<: *a\n",
            many(5_000, &|i| format!("  k{i}: 1\n")),
            many(5_000, &|i| format!("  l{i}: 1\n"))
        ),
        // One wide mapping.
        many(20_000, &|i| format!("k{i}: v\n")),
        // Merges of merges.
        format!(
            "m0: &m0 {{x: 1}}\n{}",
            many(500, &|i| format!(
                "m{}: &m{} {{<<: *m{i}, y{i}: 1}}\n",
                i + 1,
                i + 1
            ))
        ),
    ];
    for text in texts {
        let start = std::time::Instant::now();
        let outcome = Stream::parse(text.as_str()).and_then(|stream| {
            stream.documents()[0].rewrite(&[("new.key".parse().unwrap(), json!(1))])
        });
        // Merges of merges go over the depth; the others are edited.
        match outcome {
            Ok(new) => assert!(new.starts_with(&text[..100])),
            Err(error) => assert_eq!(error.code(), 112, "{error}"),
        }
        assert!(
            start.elapsed().as_secs() < 30,
            "{:?} for {}",
            start.elapsed(),
            &text[..60]
        );
    }
}
