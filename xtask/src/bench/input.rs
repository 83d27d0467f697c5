//! What is measured: many Deployments of the usual shape, a Coordinator, a real image.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::{images, process, workspace};

/// A stream of a Coordinator and so many Deployments, each of about 1.6 KB.
pub(super) fn stream(count: usize) -> Result<String> {
    let coordinator = workspace::root().join("examples/jobs/coordinator.yml");
    let mut text = fs::read_to_string(&coordinator)
        .context("no Coordinator")?
        .replace("namespace: jobs", "namespace: bench");
    for number in 0..count {
        write!(text, "---\n{}", deployment(number))?;
    }
    Ok(text)
}

/// Locks the images of the stream from the layout of the examples.
pub(super) fn lock(folder: &Path, layout: &Path) -> Result<()> {
    let nacre = images::folder_of_programs()?.join("nacre");
    let mut command = std::process::Command::new(nacre);
    command
        .current_dir(folder)
        .args(["lock", "--offline", "--layout"])
        .arg(layout);
    command.args(["--lock", "lock.yaml", "50.yaml"]);
    process::output(&mut command)?;
    Ok(())
}

/// The configuration; with or without trying out each policy.
pub(super) fn configuration(self_check: bool) -> String {
    format!(
        "apiVersion: nacre.dev/v1alpha1\n\
         kind: Confidential\n\
         metadata:\n  name: bench\n\
         spec:\n  platform: metal-qemu-snp\n  namespace: bench\n  disableUpdates: true\n  insecureUnboundFirstSet: true\n  selfCheck: {self_check}\n"
    )
}

fn deployment(number: usize) -> String {
    format!(
        "\
# Deployment {number} of a generated stream.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: service-{number}
  namespace: bench
  labels:
    app.kubernetes.io/name: service-{number}
    app.kubernetes.io/part-of: bench
spec:
  replicas: 3
  revisionHistoryLimit: 5
  selector:
    matchLabels:
      app.kubernetes.io/name: service-{number}
  strategy:
    type: RollingUpdate
    rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata:
      labels:
        app.kubernetes.io/name: service-{number}
        app.kubernetes.io/part-of: bench
    spec:
      runtimeClassName: contrast-cc # the placeholder
      enableServiceLinks: false
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 30
      containers:
        - name: web
          image: registry.example.org/shop/web:v1
          imagePullPolicy: IfNotPresent
          env:
            - name: TITLE
              value: \"Service number {number}\"
            - name: CATALOG_ADDR
              value: 127.137.0.1:8081
            - name: ORDERS_ADDR
              value: '127.137.0.2:8082'
          ports:
            - name: http
              containerPort: 8080
              protocol: TCP
          readinessProbe:
            httpGet:
              path: /healthz
              port: http
            periodSeconds: 10
          resources:
            requests:
              cpu: 100m
              memory: 64Mi
            limits:
              memory: 64Mi
          volumeMounts:
            - name: scratch
              mountPath: /scratch
      volumes:
        - name: scratch
          emptyDir:
            sizeLimit: 16Mi
"
    )
}
