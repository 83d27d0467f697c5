//! A small rendered deployment for tests: a Coordinator and a web server.

use std::collections::BTreeMap;

use nacre_findings::{Finding, has_errors};
use nacre_fnconfig::Confidential;
use nacre_generate::{Options, Outcome, Source, generate};
use nacre_imagelock::{Digest, Entry, ImageLock, ImageReference, UserDatabase};
use nacre_krm::{Path, Stream};
use nacre_workload::names::{COORDINATOR_IMAGE, INITIALIZER_IMAGE};
use serde_json::{Value, json};

pub(crate) const INPUT: &str = r"apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: coordinator
  namespace: shop
spec:
  serviceName: coordinator
  template:
    metadata:
      labels: {app: coordinator}
      annotations:
        contrast.edgeless.systems/pod-role: coordinator
    spec:
      runtimeClassName: contrast-cc
      enableServiceLinks: false
      automountServiceAccountToken: false
      containers:
        - name: coordinator
          image: COORDINATOR
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  labels: {tier: front}
spec:
  template:
    metadata:
      labels: {app: web}
    spec:
      runtimeClassName: contrast-cc
      enableServiceLinks: false
      automountServiceAccountToken: false
      containers:
        - name: app
          image: registry.example.org/app:v1
          env:
            - {name: LOG_LEVEL, value: info}
";

/// Configuration and lock of the deployment.
pub(crate) struct Fixture {
    pub(crate) config: Confidential,
    pub(crate) lock: ImageLock,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(json!({}))
    }

    /// With further fields of the configuration.
    pub(crate) fn with(more: Value) -> Self {
        let mut spec = json!({
            "platform": "metal-qemu-snp",
            "workloadOwners": [{ "digest": "ab".repeat(32) }],
        });
        if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
            spec.extend(more);
        }
        let config = Confidential::from_value(&json!({
            "apiVersion": "nacre.dev/v1alpha1", "kind": "Confidential", "spec": spec,
        }))
        .unwrap();
        let mut lock = ImageLock::default();
        let images = [
            INITIALIZER_IMAGE,
            COORDINATOR_IMAGE,
            "registry.example.org/app:v1",
        ];
        for image in images {
            let reference = ImageReference::parse(image).unwrap();
            let mut entry = Entry::new(reference, Digest::of(image.as_bytes()));
            entry.config.entrypoint = vec!["/program".to_owned()];
            entry.config.user = "0:0".to_owned();
            entry.users = Some(UserDatabase::default());
            entry.resolved_user = entry.default_user();
            lock.insert(entry);
        }
        Self { config, lock }
    }

    pub(crate) fn options(&self) -> Options<'_> {
        Options {
            threads: 1,
            self_check: false,
            ..Options::new(&self.config, &self.lock)
        }
    }

    /// The deployment as rendered.
    pub(crate) fn rendered(&self) -> (String, Outcome) {
        self.render(&INPUT.replace("COORDINATOR", COORDINATOR_IMAGE))
    }

    pub(crate) fn render(&self, text: &str) -> (String, Outcome) {
        let sources = sources(text);
        let outcome = generate(&sources, &self.options());
        assert!(!has_errors(&outcome.findings), "{:#?}", outcome.findings);
        let stream = &sources[0].stream;
        let mut documents: BTreeMap<usize, Vec<(Path, Value)>> = BTreeMap::new();
        for (_, object, value) in &outcome.edits {
            let desired = documents.entry(object.document).or_default();
            desired.push((object.base.clone(), value.clone()));
        }
        let rewritten = documents
            .into_iter()
            .map(|(index, desired)| (index, stream.documents()[index].rewrite(&desired).unwrap()))
            .collect();
        (stream.render(&rewritten, &[]), outcome)
    }
}

pub(crate) fn sources(text: &str) -> Vec<Source> {
    vec![Source {
        file: Some("all.yml".to_owned()),
        stream: Stream::parse(text).unwrap(),
    }]
}

/// Code and message of each finding.
pub(crate) fn summary(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|finding| format!("{} {}", finding.code, finding.message))
        .collect()
}
