//! How fast a stream of Deployments is parsed, edited and printed, next to kyaml doing nothing.
//!
//! `cargo bench -p nacre-krm` prints a table of medians: time on the clock and of the processors;
//! the latter hardly depends on what else runs on the machine. Set `KYAML_IDENTITY` to the program built
//! from `benches/kyaml-identity` to have it measured on the same stream in the same run;
//! `DOCUMENTS` sets the size (10 000 by default, about 16 MB).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a program for developers"
)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use nacre_krm::{Document, Limits, Path, Stream};
use serde_json::{Value, json};

fn main() {
    // `cargo test --benches` runs this too; a small stream then proves that it works.
    let small = !std::env::args().any(|arg| arg == "--bench");
    let documents = std::env::var("DOCUMENTS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(if small { 20 } else { 10_000 });
    let runs = if small { 1 } else { 5 };
    let text = deployments(documents);
    let megabytes = text.len() as f64 / 1e6;
    println!("{documents} Deployments, {megabytes:.1} MB");

    let kyaml = std::env::var("KYAML_IDENTITY").ok().map(|program| {
        let time = median(runs.min(3), || kyaml(&program, &text));
        row("kyaml: read and write", megabytes, time, None);
        time
    });
    let one = Limits::with_threads(1);
    let time = median(runs, || {
        Stream::parse_with(text.as_str(), &one).unwrap();
    });
    row("parse", megabytes, time, kyaml);
    let time = median(runs, || edit(&text, 1, Document::rewrite_unchecked));
    row("parse, inject, print, unchecked", megabytes, time, kyaml);
    let single = median(runs, || edit(&text, 1, Document::rewrite));
    row("parse, inject, print, checked", megabytes, single, kyaml);
    let double = median(runs, || edit(&text, 2, Document::rewrite));
    row("the same with two threads", megabytes, double, kyaml);
    println!(
        "two threads against one: {:.2}",
        single.clock / double.clock
    );
    if let Some(peak) = peak_memory() {
        println!("peak memory of this program: {peak} MB");
    }
}

/// Seconds.
#[derive(Clone, Copy)]
struct Time {
    clock: f64,
    cpu: f64,
}

fn median(runs: usize, mut run: impl FnMut()) -> Time {
    let mut times: Vec<Time> = (0..runs)
        .map(|_| {
            let (start, cpu) = (Instant::now(), cpu_seconds());
            run();
            Time {
                clock: start.elapsed().as_secs_f64(),
                cpu: cpu_seconds() - cpu,
            }
        })
        .collect();
    let middle = runs / 2;
    times.sort_by(|a, b| a.cpu.total_cmp(&b.cpu));
    let cpu = times[middle].cpu;
    times.sort_by(|a, b| a.clock.total_cmp(&b.clock));
    Time {
        cpu,
        clock: times[middle].clock,
    }
}

fn row(what: &str, megabytes: f64, time: Time, base: Option<Time>) {
    let ratio = base.map_or(String::new(), |base| {
        format!(
            "{:6.2} x kyaml ({:.2} by cpu)",
            base.clock / time.clock,
            base.cpu / time.cpu
        )
    });
    println!(
        "{what:<34} {:7.2} s {:7.2} s cpu {:7.1} MB/s {ratio}",
        time.clock,
        time.cpu,
        megabytes / time.clock
    );
}

/// Processor time of this program and of the children it waited for, in seconds.
fn cpu_seconds() -> f64 {
    const TICKS: f64 = 100.0; // a second, on every Linux
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let fields = behind_name.split_whitespace().skip(11).take(4);
    fields
        .filter_map(|field| field.parse::<f64>().ok())
        .sum::<f64>()
        / TICKS
}

fn kyaml(program: &str, text: &str) {
    let mut child = Command::new(program)
        .env("GOMAXPROCS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
}

type Rewrite = fn(&Document, &[(Path, Value)]) -> Result<String, nacre_krm::Error>;

/// What an injecting function does to every document, then the whole output.
fn edit(text: &str, threads: usize, rewrite: Rewrite) {
    let stream = Stream::parse_with(text, &Limits::with_threads(threads)).unwrap();
    let documents = stream.documents();
    let share = documents.len().div_ceil(threads);
    let rewritten: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = documents
            .chunks(share)
            .map(|part| {
                scope.spawn(move || part.iter().map(|d| inject(d, rewrite)).collect::<Vec<_>>())
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    let rewritten = rewritten.into_iter().enumerate().collect();
    let output = stream.render(&rewritten, &[]);
    assert!(output.len() > text.len());
}

fn inject(document: &Document, rewrite: Rewrite) -> String {
    let root = Path::root();
    let mut value = document.value(&root).unwrap();
    let template = &mut value["spec"]["template"];
    template["metadata"]["annotations"]["example.com/policy"] = json!("cGFja2FnZSBwb2xpY3kK");
    let spec = &mut template["spec"];
    spec["runtimeClassName"] = json!("confidential-0123abcd");
    for container in spec["containers"].as_array_mut().unwrap() {
        let mounts = container["volumeMounts"].as_array_mut().unwrap();
        mounts.push(json!({"name": "certs", "mountPath": "/certs"}));
    }
    let volumes = spec["volumes"].as_array_mut().unwrap();
    volumes.push(json!({"name": "certs", "emptyDir": {}}));
    let init = json!({"name": "initializer", "image": "registry.example.com/initializer:v1", "volumeMounts": [{"name": "certs", "mountPath": "/certs"}]});
    spec["initContainers"]
        .as_array_mut()
        .unwrap()
        .insert(0, init);
    rewrite(document, &[(root, value)]).unwrap()
}

/// A stream of the size and shape that a large render has.
fn deployments(count: usize) -> String {
    let mut text = String::new();
    for i in 0..count {
        write!(
            text,
            r#"---
# Source: shop/templates/deployment-{i}.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: service-{i}
  namespace: shop
  labels:
    app.kubernetes.io/name: service-{i}
    app.kubernetes.io/part-of: "shop"
    helm.sh/chart: shop-1.2.3
spec:
  replicas: {replicas}
  selector:
    matchLabels: {{app.kubernetes.io/name: service-{i}}}
  template:
    metadata:
      annotations:
        checksum/config: 4be1f2b3b4b6c1f0d2c6a5e7f8091a2b3c4d5e6f708192a3b4c5d6e7f8091a2b
      labels:
        app.kubernetes.io/name: service-{i}
    spec:
      runtimeClassName: confidential # placeholder
      serviceAccountName: service-{i}
      initContainers:
      - name: wait
        image: "registry.example.com/wait:1.0"
        command: ["sh", "-c", "until nc -z db 5432; do sleep 1; done"]
      containers:
      # the service itself
      - name: web
        image: registry.example.com/shop/service:{i}.0.1
        args:
        - --port=8080
        - --log-level=info
        env:
        - name: DATABASE_HOST
          value: db.shop.svc
        - name: DATABASE_PASSWORD
          valueFrom:
            secretKeyRef:
              name: db
              key: password
        ports:
        - containerPort: 8080
          name: http
        livenessProbe:
          httpGet: {{path: /healthz, port: http}}
          initialDelaySeconds: 5
        resources:
          limits: {{cpu: 500m, memory: 256Mi}}
          requests:
            cpu: 100m
            memory: 128Mi
        volumeMounts:
        - name: config
          mountPath: /etc/shop
          readOnly: true
      volumes:
      - name: config
        configMap:
          name: service-{i}
          items:
          - key: app.conf
            path: app.conf
"#,
            replicas = i % 5 + 1,
        )
        .unwrap();
    }
    text
}

fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}
