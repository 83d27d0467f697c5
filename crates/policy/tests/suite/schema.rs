//! Every pod field of the Kubernetes API has a class, and every class is of a field that exists.

use std::collections::BTreeMap;

use nacre_policy::support::{self, Class, Field};

const API: &str = include_str!("../schema/kubernetes-1.34.txt");

/// One field of a type: its name, whether it is a list, and the type of its objects.
struct Member<'a> {
    name: &'a str,
    list: bool,
    of: Option<&'a str>,
}

fn types(text: &str) -> BTreeMap<&str, Vec<Member<'_>>> {
    let member = |word| {
        let (name, of) = match str::split_once(word, ':') {
            Some((name, of)) => (name, Some(of)),
            None => (word, None),
        };
        let bare = name.trim_end_matches("{}");
        Member {
            name: bare.trim_end_matches("[]"),
            list: bare.ends_with("[]"),
            of,
        }
    };
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split_whitespace();
            (words.next().unwrap(), words.map(member).collect())
        })
        .collect()
}

/// What is wrong between a type of the API and a table, with the path.
fn differences(
    types: &BTreeMap<&str, Vec<Member<'_>>>,
    of: &str,
    fields: &[Field],
    at: &str,
    out: &mut Vec<String>,
) {
    let members = &types[of];
    for member in members {
        let path = format!("{at}.{}", member.name);
        let Some(field) = fields.iter().find(|field| field.name == member.name) else {
            out.push(format!("{path} has no class"));
            continue;
        };
        match (field.class, member.of) {
            (Class::Object(inner), Some(of)) if !member.list => {
                differences(types, of, inner, &path, out);
            }
            (Class::List(inner), Some(of)) if member.list => {
                differences(types, of, inner, &path, out);
            }
            (Class::Object(_) | Class::List(_), _) => out.push(format!("{path} has another shape")),
            // What the policy holds of an object is said member by member.
            (Class::Words, None) if !member.list => out.push(format!("{path} has another shape")),
            (Class::Pinned | Class::Words, Some(_)) => {
                out.push(format!("{path} is not spelled out"))
            }
            (Class::Pinned | Class::Words | Class::Irrelevant | Class::Refused, _) => {}
        }
    }
    for field in fields {
        if !members.iter().any(|member| member.name == field.name) {
            out.push(format!("{at}.{} is not in the API", field.name));
        }
    }
}

fn check(api: &str) -> Vec<String> {
    let mut out = Vec::new();
    differences(&types(api), "PodSpec", support::POD, "spec", &mut out);
    out
}

#[test]
fn every_field_of_the_api_has_a_class() {
    assert_eq!(check(API), [""; 0]);
}

#[test]
fn a_field_without_class_is_found() {
    for (line, path) in [
        ("PodSpec ", "spec.brandNew"),
        (
            "Capabilities ",
            "spec.containers.securityContext.capabilities.brandNew",
        ),
        ("KeyToPath ", "spec.volumes.configMap.items.brandNew"),
    ] {
        let api = API.replace(&format!("\n{line}"), &format!("\n{line}brandNew "));
        assert!(
            check(&api).contains(&format!("{path} has no class")),
            "{path}"
        );
    }
    let api = API.replace(" hostPID", "");
    assert_eq!(check(&api), ["spec.hostPID is not in the API"]);
}
