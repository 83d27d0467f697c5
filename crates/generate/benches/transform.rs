//! What the stages cost for each workload, on one thread and without the self-check.
//!
//! `cargo bench -p nacre-generate` prints milliseconds; `WORKLOADS=10000` sets the size.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a program for developers"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use nacre_fnconfig::Confidential;
use nacre_generate::{Options, Source, generate};
use nacre_imagelock::ImageLock;
use nacre_krm::{Limits, Stream};
use serde_json::json;

#[path = "../tests/golden/lock.rs"]
mod lock;

fn main() {
    // `cargo test --benches` runs this too; a few workloads then prove that it works.
    let few = !std::env::args().any(|arg| arg == "--bench");
    let count = std::env::var("WORKLOADS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(if few { 10 } else { 1000 });
    let text = deployment(count);
    let config = Confidential::from_value(&json!({
        "apiVersion": "nacre.dev/v1alpha1", "kind": "Confidential",
        "spec": {
            "platform": "metal-qemu-snp", "namespace": "shop", "selfCheck": false,
            "workloadOwners": [{"digest": "0".repeat(64)}],
        },
    }));
    let (config, lock): (_, ImageLock) = (config.expect("configuration"), lock::lock());
    let megabytes = text.len() as f64 / 1e6;
    println!("{count} Deployments, {megabytes:.1} MB");

    let start = Instant::now();
    let stream = Stream::parse_with(text, &Limits::with_threads(1)).expect("YAML");
    report("parse", start.elapsed(), count);

    let source = [Source { file: None, stream }];
    let options = Options {
        threads: 1,
        ..Options::new(&config, &lock)
    };
    let start = Instant::now();
    let outcome = generate(&source, &options);
    report("generate", start.elapsed(), count);
    assert!(outcome.manifest.is_some(), "{:?}", outcome.findings.first());

    let start = Instant::now();
    for (_, at, value) in &outcome.edits {
        let document = source[0]
            .stream
            .documents()
            .get(at.document)
            .expect("document");
        black_box(
            document
                .rewrite(&[(at.base.clone(), value.clone())])
                .expect("edit"),
        );
    }
    report("write", start.elapsed(), count);
}

fn report(stage: &str, took: Duration, count: usize) {
    let each = took.as_secs_f64() * 1e6 / count as f64;
    println!(
        "{stage:>10} {:>8.1} ms {each:>8.1} µs each",
        took.as_secs_f64() * 1e3
    );
}

/// Deployments of two containers with what charts usually carry, and the Coordinator.
fn deployment(count: usize) -> String {
    let mut text = String::new();
    for n in 0..count {
        text.push_str(&format!(
            "# Source: shop/templates/web-{n}.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web-{n}
  labels: &labels
    app.kubernetes.io/name: web-{n}
    app.kubernetes.io/part-of: shop
    helm.sh/chart: shop-1.2.3
spec:
  replicas: 2
  selector:
    matchLabels:
      app.kubernetes.io/name: web-{n}
  template:
    metadata:
      labels:
        app.kubernetes.io/name: web-{n}
        app.kubernetes.io/part-of: shop
    spec:
      runtimeClassName: contrast-cc
      enableServiceLinks: false
      automountServiceAccountToken: false
      securityContext:
        runAsNonRoot: true
        seccompProfile:
          type: RuntimeDefault
      containers:
        - name: app
          image: \"registry.example.org/app:v1\"
          args: [\"serve\", \"--port=8080\"]
          env:
            - name: LOG_LEVEL
              value: info
            - name: POD_NAME
              valueFrom:
                fieldRef:
                  fieldPath: metadata.name
          ports:
            - name: http
              containerPort: 8080
          readinessProbe:
            exec:
              command: [\"/app\", \"ready\"]
          resources:
            requests:
              cpu: 100m
              memory: 64Mi
            limits:
              memory: 64Mi
          volumeMounts:
            - name: tmp
              mountPath: /tmp
        - name: exporter
          image: registry.example.org/app:v1 # the same image
          args: [\"export\"]
      volumes:
        - name: tmp
          emptyDir: {{}}
---
"
        ));
    }
    text.push_str(
        "apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: coordinator
spec:
  serviceName: coordinator
  template:
    metadata:
      annotations:
        nacre.dev/pod-role: coordinator
    spec:
      runtimeClassName: contrast-cc
      enableServiceLinks: false
      containers:
        - name: coordinator
          image: ghcr.io/nacre-dev/nacre/coordinator:v0.1.0
",
    );
    text
}
