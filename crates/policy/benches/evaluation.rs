//! What evaluation costs: by the agent's engine for a guest, by ours for the self-check; ratios of one run.
//!
//! `cargo bench -p nacre-policy`. CPU time of the thread, the fastest of several batches, so that a busy machine
//! counts little. With `NACRE_PEER` naming a folder of policy texts that Kata's genpolicy made, `1.rego` for the pod
//! that `cargo bench -p nacre-policy -- --pod 1` prints, `20.rego` and so on, the peer answers the same requests in
//! the same run: creating a container at most an eighth of its time, allowed or denied, loading at most a third.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark"
)]

#[path = "../tests/suite/common.rs"]
mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::{Case, many, mesh, twenty};
use nacre_policy::evaluate::Session;
use nacre_policy::{Carrier, mutate, request, self_check};
use regorus_0_10::{Engine, Value};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

const CREATE: &str = "CreateContainerRequest";
/// Batches of which the fastest counts.
const BATCHES: usize = 7;

/// CPU time of this thread.
fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap(),
        time.tv_nsec.try_into().unwrap(),
    )
}

/// Milliseconds of one of `rounds` calls, in the fastest batch.
fn each(rounds: u32, mut run: impl FnMut()) -> f64 {
    run();
    let batches = (0..BATCHES).map(|_| {
        let start = now();
        (0..rounds).for_each(|_| run());
        (now() - start).as_secs_f64() * 1e3 / f64::from(rounds)
    });
    batches.fold(f64::INFINITY, f64::min)
}

/// A guest with the engine its agent has.
struct Guest {
    engine: Engine,
    state: serde_json::Value,
}

impl Guest {
    fn load(policy: &str) -> Self {
        let mut engine = Engine::new();
        engine.set_strict_builtin_errors(false);
        engine.set_gather_prints(true);
        engine
            .add_policy("agent_policy".to_owned(), policy.to_owned())
            .unwrap();
        let mut guest = Self {
            engine,
            state: json!({}),
        };
        guest.publish();
        guest
    }

    fn publish(&mut self) {
        self.engine.clear_data();
        let data = json!({ "pstate": self.state });
        self.engine.add_data(value(&data)).unwrap();
    }

    fn answer(&mut self, message: &str, input: &Value) -> serde_json::Value {
        self.engine.set_input(input.clone());
        let query = format!("data.agent_policy.{message}");
        let results = self.engine.eval_query(query, false);
        self.engine.take_prints().unwrap();
        // The agent refuses what cannot be evaluated, such as null where a list belongs.
        let Ok(results) = results else {
            return json!(false);
        };
        let text = results.result[0].expressions[0]
            .value
            .to_json_str()
            .unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// One request, with the change of state that comes with it.
    fn serve(&mut self, message: &str, input: &Value) -> bool {
        let answer = self.answer(message, input);
        if answer["allowed"] != json!(true) {
            return answer == json!(true);
        }
        for op in answer["ops"].as_array().into_iter().flatten() {
            match (op["path"].as_str().unwrap(), op["op"].as_str().unwrap()) {
                ("/pstate", _) => self.state = op["value"].clone(),
                (path, "add" | "replace") => {
                    self.state[path.trim_start_matches("/pstate/")] = op["value"].clone();
                }
                (path, other) => panic!("{other} at {path}"),
            }
        }
        self.publish();
        true
    }
}

fn value(of: &serde_json::Value) -> Value {
    Value::from_json_str(&of.to_string()).unwrap()
}

/// What a guest takes, in milliseconds.
struct Figures {
    load: f64,
    allowed: f64,
    /// The median of hostile changes of the request.
    denied: Option<f64>,
}

impl Figures {
    fn better(&self, other: &Self) -> Self {
        Self {
            load: self.load.min(other.load),
            allowed: self.allowed.min(other.allowed),
            denied: self.denied.zip(other.denied).map(|(a, b)| a.min(b)),
        }
    }
}

/// Asks a guest for the last container of a pod, also every so many-th hostile change of it.
fn figures(policy: &str, case: &Case, hostile: Option<usize>) -> Figures {
    let load = each(3, || {
        Guest::load(policy).answer("AllowRequestsFailingPolicy", &value(&json!({})));
    });
    let life = case.with(request::life);
    let last = life.iter().rposition(|r| r.message == CREATE).unwrap();
    let mut guest = Guest::load(policy);
    for request in &life[..last] {
        assert!(
            guest.serve(request.message, &value(&request.input)),
            "{}",
            request.title
        );
    }
    let original = value(&life[last].input);
    assert_eq!(
        guest.answer(CREATE, &original)["allowed"],
        json!(true),
        "{}",
        life[last].title
    );
    let allowed = each(10, || {
        guest.answer(CREATE, &original);
    });
    let mut denied: Vec<f64> = Vec::new();
    if let Some(step) = hostile {
        for mutation in mutate::all(CREATE, &life[last].input)
            .into_iter()
            .step_by(step)
        {
            let input = value(&mutation.input);
            let answer = guest.answer(CREATE, &input);
            if answer == json!(false) {
                denied.push(each(1, || {
                    guest.answer(CREATE, &input);
                }));
            }
        }
    }
    denied.sort_by(f64::total_cmp);
    let denied = denied.get(denied.len() / 2).copied();
    Figures {
        load,
        allowed,
        denied,
    }
}

/// The slowest answer to any request of a pod's life, as it is or changed, in milliseconds.
fn slowest(case: &Case) -> (f64, usize) {
    let mut session = Session::load(&case.policy().text).unwrap();
    let (mut slowest, mut count) = (0f64, 0);
    for request in case.with(request::life) {
        let changed = mutate::all(request.message, &request.input).into_iter();
        let inputs = changed
            .map(|mutation| mutation.input)
            .chain([request.input.clone()]);
        for input in inputs {
            // What was interrupted is asked once more: an answer is not slow by chance twice.
            let mut took = f64::INFINITY;
            for _ in 0..3 {
                let start = now();
                let _ = session.probe(request.message, &input);
                took = took.min((now() - start).as_secs_f64() * 1e3);
                if took < 10.0 {
                    break;
                }
            }
            slowest = slowest.max(took);
            count += 1;
        }
        session.request(request.message, &request.input).unwrap();
    }
    (slowest, count)
}

#[derive(Default)]
struct Table {
    missed: usize,
}

impl Table {
    fn note(&self, what: &str, value: f64) {
        println!("  {what:<68} {value:>8.3}");
    }

    fn at_most(&mut self, what: &str, limit: f64, value: f64) {
        let met = value <= limit;
        self.missed += usize::from(!met);
        let verdict = if met { "met" } else { "NOT MET" };
        println!("{what:<70} {value:>8.3}  <= {limit:.3} {verdict}");
    }
}

/// A pod of which the peer is to make a policy.
fn pod(case: &Case) -> serde_json::Value {
    json!({
        "apiVersion": "apps/v1", "kind": case.kind,
        "metadata": {"name": case.name, "namespace": "shop"},
        "spec": {
            "selector": {"matchLabels": {"app": case.name}},
            "template": {"metadata": case.metadata, "spec": case.spec},
        },
    })
}

/// Both answer in turns, so that a slow moment hits both.
fn beside(table: &mut Table, containers: usize, theirs: &str) {
    let case = many(containers);
    let mine = case.policy();
    let bytes = mine.carrier(Carrier::InitData).annotation_value.len();
    println!("  {containers} containers, bytes of the annotation: {bytes}");
    let mine = mine.text;
    let hostile = Some(7 * containers);
    let turn = || {
        (
            figures(&mine, &case, hostile),
            figures(theirs, &case, hostile),
        )
    };
    let (mut own, mut peer) = turn();
    for _ in 1..3 {
        let (a, b) = turn();
        (own, peer) = (own.better(&a), peer.better(&b));
    }
    let rows = [
        ("create, allowed", 0.125, own.allowed, peer.allowed),
        (
            "create, denied, median of hostile changes",
            0.125,
            own.denied.unwrap(),
            peer.denied.unwrap(),
        ),
        ("load", 1.0 / 3.0, own.load, peer.load),
    ];
    for (what, limit, own, peer) in rows {
        println!("  {containers} containers, {what}: {own:.3} ms, the peer {peer:.3} ms");
        let what = format!("{containers} containers, {what}, in times of the peer's");
        table.at_most(&what, limit, own / peer);
    }
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--pod");
    if arguments.next().is_some() {
        let count = arguments.next().unwrap().parse().unwrap();
        println!("{:#}", pod(&many(count)));
        return;
    }
    let mut table = Table::default();
    let mut ours = Vec::new();
    for (name, case) in [
        ("1 container", many(1)),
        ("3 containers", mesh()),
        ("20 containers", twenty()),
    ] {
        let policy = case.policy();
        let found = figures(&policy.text, &case, (name == "1 container").then_some(7));
        table.note(
            &format!("{name}: milliseconds to create the last, allowed"),
            found.allowed,
        );
        if let Some(denied) = found.denied {
            table.note(
                &format!("{name}: the same denied, median of hostile changes"),
                denied,
            );
        }
        table.note(&format!("{name}: milliseconds to load"), found.load);
        let check = each(2, || case.with(|input| self_check(&policy, input)).unwrap());
        if name == "20 containers" {
            table.note(&format!("{name}: milliseconds of self-check"), check);
        } else {
            table.at_most(&format!("{name}: milliseconds of self-check"), 8.0, check);
        }
        let made = each(5, || {
            case.policy().carrier(Carrier::InitData);
        });
        table.note(
            &format!("{name}: milliseconds to make policy and annotation"),
            made,
        );
        ours.push(found);
    }
    table.at_most(
        "create, allowed: 20 containers against 1",
        2.2,
        ours[2].allowed / ours[0].allowed,
    );
    let mut asked = 0;
    let mut most = 0f64;
    for case in [
        many(1),
        mesh(),
        common::rich("kata-3"),
        common::rich("kata-4"),
        common::attached(),
    ] {
        let (slowest, count) = slowest(&case);
        most = most.max(slowest);
        asked += count;
    }
    table.at_most(
        &format!("milliseconds of the slowest of {asked} requests, as sent or changed"),
        50.0,
        most,
    );
    match std::env::var_os("NACRE_PEER") {
        Some(folder) => {
            for containers in [1, 3, 20] {
                let path = Path::new(&folder).join(format!("{containers}.rego"));
                beside(&mut table, containers, &fs::read_to_string(path).unwrap());
            }
        }
        None => println!("  NACRE_PEER names no policies of the peer's: not measured beside it"),
    }
    if table.missed > 0 {
        println!("{} not met", table.missed);
        std::process::exit(1);
    }
}
