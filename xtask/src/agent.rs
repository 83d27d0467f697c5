//! `cargo xtask agent-schema KATA`: what the messages of Kata's agent hold, as data for a test.
//!
//! Read from a checkout of Kata: the definitions in `src/libs/protocols/protos` (Apache-2.0) and, for the one
//! message that the agent prepares before it asks the policy, its own type in `src/agent/policy/src/policy.rs`.
//! Only names and types are taken. The reader knows the part of the language that these files use, and fails
//! on anything else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// The definitions that the agent's service reaches.
const PROTOS: [&str; 4] = ["agent", "csi", "oci", "types"];
const FOLDER: &str = "src/libs/protocols/protos";
const POLICY: &str = "src/agent/policy/src/policy.rs";
/// What the agent makes of a `CopyFileRequest`, which has the bytes of the file.
const PREPARED: &str = "PolicyCopyFileRequest";
const DATA: &str = "crates/policy/tests/schema/kata-agent.txt";
const HEAD: &str = "\
# Messages that the agent of Kata asks its policy about, with their fields and types as the definitions spell them.
# A type is preceded by [] (list) or {} (map from texts). `rpc` lines: a call and its message; `enum` lines: numbers
# with names. PolicyCopyFileRequest is what the agent asks about instead of CopyFileRequest.
# Made by `cargo xtask agent-schema KATA` from src/libs/protocols/protos/{agent,csi,oci,types}.proto and
# src/agent/policy/src/policy.rs of Kata Containers (Apache-2.0); the same for 3.29.0, 3.32.0, 4.0.0 and 4.1.0.
";

/// Writes the data anew from the checkout at `kata`.
pub(crate) fn write(kata: &str) -> Result<()> {
    let read = |path: &str| {
        let path = Path::new(kata).join(path);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let mut all = Definitions::default();
    for name in PROTOS {
        let path = format!("{FOLDER}/{name}.proto");
        all.read(&read(&path)?)
            .with_context(|| format!("cannot understand {path}"))?;
    }
    let prepared = structure(&read(POLICY)?, PREPARED)?;
    all.messages.insert(PREPARED.to_owned(), prepared);
    let path = workspace::root().join(DATA);
    fs::write(&path, format!("{HEAD}{}", all.text()?))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[derive(Default)]
struct Definitions {
    /// The calls of the service, with the message of each.
    calls: BTreeMap<String, String>,
    /// Fields with their types, in order.
    messages: BTreeMap<String, Vec<(String, String)>>,
    enums: BTreeSet<String>,
}

impl Definitions {
    fn read(&mut self, text: &str) -> Result<()> {
        let words = words(text);
        let mut words = words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "service" => {
                    next(&mut words)?;
                    self.service(&mut words)?;
                }
                "message" => {
                    let name = next(&mut words)?;
                    let mut fields = Vec::new();
                    self.message(&mut words, &mut fields)?;
                    if self.messages.insert(name.to_owned(), fields).is_some() {
                        bail!("two messages are called {name}");
                    }
                }
                "enum" => self.enumeration(&mut words)?,
                // syntax, package, import, option
                _ => {
                    words.find(|word| *word == ";");
                }
            }
        }
        Ok(())
    }

    fn service<'a>(&mut self, words: &mut impl Iterator<Item = &'a str>) -> Result<()> {
        expect(words, "{")?;
        loop {
            match next(words)? {
                "}" => return Ok(()),
                "rpc" => {
                    let name = next(words)?;
                    expect(words, "(")?;
                    self.calls.insert(name.to_owned(), last(next(words)?));
                    words.find(|word| *word == ";");
                }
                other => bail!("`{other}` in a service"),
            }
        }
    }

    fn message<'a>(
        &mut self,
        words: &mut impl Iterator<Item = &'a str>,
        fields: &mut Vec<(String, String)>,
    ) -> Result<()> {
        expect(words, "{")?;
        loop {
            let (list, of) = match next(words)? {
                "}" => return Ok(()),
                "enum" => {
                    self.enumeration(words)?;
                    continue;
                }
                // One of several members: they stand in the message itself.
                "oneof" => {
                    next(words)?;
                    self.message(words, fields)?;
                    continue;
                }
                "map" => {
                    expect(words, "<")?;
                    expect(words, "string")?;
                    expect(words, ",")?;
                    let of = last(next(words)?);
                    expect(words, ">")?;
                    ("{}", of)
                }
                "repeated" => ("[]", last(next(words)?)),
                "optional" => ("", last(next(words)?)),
                of => ("", last(of)),
            };
            let name = next(words)?.to_owned();
            expect(words, "=")?;
            next(words)?;
            expect(words, ";")?;
            fields.push((name, format!("{list}{of}")));
        }
    }

    fn enumeration<'a>(&mut self, words: &mut impl Iterator<Item = &'a str>) -> Result<()> {
        self.enums.insert(next(words)?.to_owned());
        words
            .find(|word| *word == "}")
            .map(|_| ())
            .context("an enum without end")
    }

    /// The calls, and everything that their messages reach.
    fn text(&self) -> Result<String> {
        let mut wanted: Vec<&str> = self.calls.values().map(String::as_str).collect();
        wanted.push(PREPARED);
        let (mut messages, mut enums) = (BTreeMap::new(), BTreeSet::new());
        while let Some(name) = wanted.pop() {
            if let Some(fields) = self.messages.get(name) {
                if messages.insert(name, fields).is_none() {
                    wanted.extend(fields.iter().map(|(_, of)| bare(of)));
                }
            } else if self.enums.contains(name) {
                enums.insert(name);
            } else if !SCALARS.contains(&name) {
                bail!("no type is called {name}");
            }
        }
        let mut out = String::new();
        for (name, message) in &self.calls {
            writeln!(out, "rpc {name} {message}")?;
        }
        for name in enums {
            writeln!(out, "enum {name}")?;
        }
        for (name, fields) in messages {
            out.push_str(name);
            for (field, of) in fields {
                write!(out, " {field}:{of}")?;
            }
            out.push('\n');
        }
        Ok(out)
    }
}

const SCALARS: [&str; 8] = [
    "bool", "bytes", "int32", "int64", "string", "uint32", "uint64", "double",
];

/// The public fields of a structure in Rust that derives its form, with the types of the definitions.
fn structure(text: &str, name: &str) -> Result<Vec<(String, String)>> {
    let (_, body) = text
        .split_once(&format!("pub struct {name} {{"))
        .with_context(|| format!("no structure {name} in {POLICY}"))?;
    let (body, _) = body.split_once("\n}").context("a structure without end")?;
    let lines = body.lines().map(str::trim);
    let mut fields = Vec::new();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with("//")) {
        let (field, of) = line
            .strip_prefix("pub ")
            .and_then(|line| line.strip_suffix(','))
            .and_then(|line| line.split_once(": "))
            .with_context(|| format!("`{line}` in {name}"))?;
        // An enumeration of serde is written by the names of its variants.
        let of = match of {
            "String" | "Option<String>" | "FileType" => "string",
            "i32" => "int32",
            "u32" => "uint32",
            "i64" => "int64",
            other => bail!("{field} of {name} is of the type {other}"),
        };
        fields.push((field.to_owned(), of.to_owned()));
    }
    Ok(fields)
}

/// Words and signs, without comments.
fn words(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for line in text.lines() {
        let code = line.split("//").next().unwrap_or("");
        for word in code.split_whitespace() {
            let mut rest = word;
            while let Some(at) = rest.find(['{', '}', '(', ')', '<', '>', '=', ';', ',']) {
                let (before, from) = rest.split_at(at);
                let (sign, after) = from.split_at(1);
                out.extend([before, sign].map(str::to_owned));
                rest = after;
            }
            out.push(rest.to_owned());
        }
    }
    out.retain(|word| !word.is_empty());
    out
}

fn next<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<&'a str> {
    words.next().context("the text ends in a definition")
}

fn expect<'a>(words: &mut impl Iterator<Item = &'a str>, sign: &str) -> Result<()> {
    match next(words)? {
        word if word == sign => Ok(()),
        other => bail!("`{other}` where `{sign}` is expected"),
    }
}

/// A name without its package.
fn last(name: &str) -> String {
    name.rsplit('.').next().unwrap_or(name).to_owned()
}

/// A type without what precedes it.
fn bare(of: &str) -> &str {
    of.trim_start_matches("[]").trim_start_matches("{}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failure shall end the test")]
mod tests {
    use super::*;

    const PROTO: &str = r#"
syntax = "proto3"; // message Comment {
package grpc;
import "types.proto";
service Agent {
    rpc Do(DoRequest) returns (google.protobuf.Empty);
}
message DoRequest {
    string name = 1; // the name
    repeated types.Part parts = 2;
    map<string, uint64> sizes = 3;
    optional bool once = 4;
    oneof Either { uint32 code = 5; bytes data = 6; }
}
message Part { Kind kind = 1; enum Inner { A = 0; } }
message Answer { string text = 1; }
enum Kind { ONE = 0; }
"#;

    #[test]
    fn what_the_calls_reach_is_written() {
        let mut all = Definitions::default();
        all.read(PROTO).unwrap();
        let source = "pub struct PolicyCopyFileRequest {\n    // first\n    pub path: String,\n    pub gid: i32,\n}\n";
        let fields = structure(source, PREPARED).unwrap();
        all.messages.insert(PREPARED.to_owned(), fields);
        assert_eq!(
            all.text().unwrap(),
            "rpc Do DoRequest\nenum Kind\n\
             DoRequest name:string parts:[]Part sizes:{}uint64 once:bool code:uint32 data:bytes\n\
             Part kind:Kind\nPolicyCopyFileRequest path:string gid:int32\n"
        );
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for text in [
            "message A { group B = 1 { } }",
            "message A { string a = 1",
            "service S { option x = 1; }",
            "message A {} message A {}",
        ] {
            assert!(Definitions::default().read(text).is_err(), "{text}");
        }
        let mut all = Definitions::default();
        all.read("service S { rpc A(Nobody) returns (E); }")
            .unwrap();
        assert!(all.text().is_err());
        let odd = "pub struct PolicyCopyFileRequest {\n    pub path: PathBuf,\n}\n";
        assert!(structure(odd, PREPARED).is_err());
    }
}
