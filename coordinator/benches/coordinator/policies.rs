//! Policies as they are generated, which is how far they repeat each other.

use aws_lc_rs::digest;
use nacre_policy::carrier::{Carrier, INIT_DATA};

/// What the generator makes of a workload, the longest of its cases.
const GENERATED: &str = include_str!("../../../crates/generate/tests/cases/renewal/expected.yaml");
/// Bytes of a policy of many variables: that case has 23 300.
const LENGTH: usize = 29_000;

/// The text behind the annotation, longer by variables.
pub(crate) fn generated() -> String {
    let mut lines = GENERATED.lines();
    let value = lines.find_map(|line| line.trim().strip_prefix(INIT_DATA)?.strip_prefix(": "));
    let raw = Carrier::InitData.raw(value.unwrap()).unwrap();
    let mut text = String::from_utf8(raw).unwrap();
    let at = text.find("\t\t\"KUBERNETES_PORT\"").unwrap();
    for number in 0.. {
        if text.len() >= LENGTH {
            break;
        }
        let variable =
            format!("\t\t\"SETTING_{number}\": \"=http://web-{number}.shop.svc:8080\",\n");
        text.insert_str(at, &variable);
    }
    text
}

/// The policy of another workload: its name, and every digest another one.
pub(crate) fn of_workload(generated: &str, index: usize) -> String {
    let named = generated.replace("web", &format!("app-{index}"));
    let mut text = String::with_capacity(named.len());
    let mut rest = named.as_str();
    let mut count = 0_usize;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        let (run, more) = rest.split_at(digits);
        if digits >= 64 {
            let seed = format!("{index} {count}");
            let digest = hex::encode(digest::digest(&digest::SHA512, seed.as_bytes()));
            text.push_str(&digest[..digits.min(digest.len())]);
            count += 1;
        } else {
            text.push_str(run);
        }
        let next = more.find(|c: char| c.is_ascii_hexdigit());
        let (plain, more) = more.split_at(next.unwrap_or(more.len()));
        text.push_str(plain);
        rest = more;
    }
    text
}
