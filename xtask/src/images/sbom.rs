//! What an image is made of: a CycloneDX document and a list of licences for each.
//!
//! For our programs both come from what cargo would link with the features that are enabled, and from the
//! checksums of Cargo.lock; for Go programs from what they say themselves that they were made of, and from the
//! licence texts of these modules. What every program of ours is linked with besides is in `linked`. No time and
//! no random number goes in: the same programs have the same documents.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

mod golang;
mod linked;

use super::TARGET;
use crate::{process, workspace};

/// A package that is linked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Component {
    name: String,
    version: String,
    licence: String,
    origin: Origin,
}

/// Where a package comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Cargo,
    /// With the checksum of the module as `go.sum` has it, which is that of a list of files.
    Go(Option<String>),
    /// The Debian source package of this name.
    Debian(String),
    /// Neither a registry's nor a distribution's.
    Generic,
}

/// Writes `<image>.cdx.json` and `<image>.licences.txt`, for packages of ours and Go programs beside them.
pub(super) fn write(
    folder: &Path,
    image: &str,
    packages: &[&str],
    programs: &[&Path],
) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut components = components(packages)?;
    components.extend(linked::components()?);
    for program in programs {
        components.extend(golang::components(program)?);
    }
    components.sort();
    // Rust's library may be made of crates that we use too.
    components.dedup_by(|one, other| {
        (&one.name, &one.version, &one.origin) == (&other.name, &other.version, &other.origin)
    });
    let checksums = checksums(&fs::read_to_string(workspace::root().join("Cargo.lock"))?);
    let document = document(image, &components, &checksums);
    let text = serde_json::to_string_pretty(&document)?;
    fs::write(folder.join(format!("{image}.cdx.json")), text + "\n")?;
    let mut list = String::new();
    for component in &components {
        writeln!(
            list,
            "{} {}: {}",
            component.name, component.version, component.licence
        )?;
    }
    fs::write(folder.join(format!("{image}.licences.txt")), list)?;
    Ok(())
}

/// Everything that is linked into the packages, sorted.
fn components(packages: &[&str]) -> Result<Vec<Component>> {
    let mut found = std::collections::BTreeSet::new();
    for package in packages {
        let mut cargo = workspace::cargo();
        cargo.args(["tree", "--locked", "--prefix=none", "--edges=normal"]);
        cargo.args(["--format={p}|{l}", "--target", TARGET, "--package", package]);
        let text = process::output(&mut cargo)?;
        for line in text.lines() {
            found.insert(component(line)?);
        }
    }
    if found.is_empty() {
        bail!("cargo tree names no package of {packages:?}");
    }
    Ok(found.into_iter().collect())
}

/// One line of cargo tree: `name v1.2.3 (folder)|MIT OR Apache-2.0 (*)`.
fn component(line: &str) -> Result<Component> {
    let (package, licence) = line.split_once('|').context("a package without licence")?;
    let mut words = package.split_whitespace();
    let (name, version) = (words.next(), words.next());
    let (Some(name), Some(version)) = (name, version.and_then(|v| v.strip_prefix('v'))) else {
        bail!("cargo tree says {line:?}");
    };
    let licence = licence.trim_end_matches(" (*)").trim();
    if licence.is_empty() {
        bail!("{name} {version} names no licence");
    }
    Ok(Component {
        name: name.to_owned(),
        version: version.to_owned(),
        // Old manifests write a slash.
        licence: licence.replace('/', " OR "),
        origin: Origin::Cargo,
    })
}

/// Checksum by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let field = |block: &str, name: &str| {
        let start = format!("{name} = \"");
        block
            .lines()
            .find_map(|line| Some(line.strip_prefix(&start)?.strip_suffix('"')?.to_owned()))
    };
    lock.split("[[package]]")
        .filter_map(|block| {
            let key = (field(block, "name")?, field(block, "version")?);
            Some((key, field(block, "checksum")?))
        })
        .collect()
}

fn document(
    image: &str,
    components: &[Component],
    checksums: &BTreeMap<(String, String), String>,
) -> Value {
    let parts: Vec<Value> = components
        .iter()
        .map(|component| {
            let Component {
                name,
                version,
                licence,
                origin,
            } = component;
            let purl = match origin {
                Origin::Cargo => format!("pkg:cargo/{name}@{version}"),
                Origin::Go(_) => format!("pkg:golang/{name}@{version}"),
                Origin::Generic => format!("pkg:generic/{name}@{version}"),
                Origin::Debian(source) => {
                    let version = version.replace('+', "%2B");
                    format!("pkg:deb/debian/{source}@{version}?arch=source")
                }
            };
            let mut part = json!({
                "type": "library",
                "bom-ref": purl,
                "name": name,
                "version": version,
                "purl": purl,
                "licenses": [{ "expression": licence }],
            });
            let (key, value) = match origin {
                Origin::Cargo => {
                    let checksum = checksums.get(&(name.clone(), version.clone()));
                    let hash = checksum.map(|hash| json!([{ "alg": "SHA-256", "content": hash }]));
                    ("hashes", hash)
                }
                Origin::Go(sum) => {
                    let sum = sum.as_ref();
                    (
                        "properties",
                        sum.map(|sum| json!([{ "name": "go.sum", "value": sum }])),
                    )
                }
                Origin::Debian(_) | Origin::Generic => ("hashes", None),
            };
            if let (Some(value), Some(part)) = (value, part.as_object_mut()) {
                part.insert(key.to_owned(), value);
            }
            part
        })
        .collect();
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": serial_number(&parts),
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": image,
                "name": format!("nacre/{image}"),
                "version": env!("CARGO_PKG_VERSION"),
                "licenses": [{ "expression": "Apache-2.0" }],
            },
        },
        "components": parts,
    })
}

/// A UUID that stands for the content.
fn serial_number(parts: &[Value]) -> String {
    let digest = hex::encode(Sha256::digest(Value::from(parts.to_vec()).to_string()));
    let part = |from: usize, to: usize| digest.get(from..to).unwrap_or_default();
    // Version 8 (custom) of the standard variant.
    format!(
        "urn:uuid:{}-{}-8{}-8{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 15),
        part(15, 18),
        part(18, 30)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_cargo_tree_are_read() {
        let component = component("serde v1.0.2 (proc-macro)|MIT/Apache-2.0 (*)").unwrap();
        assert_eq!(component.name, "serde");
        assert_eq!(component.version, "1.0.2");
        assert_eq!(component.licence, "MIT OR Apache-2.0");
        assert!(super::component("serde v1.0.2|").is_err());
        assert!(super::component("[dependencies]").is_err());
    }

    #[test]
    fn the_document_is_the_same_for_the_same_parts_and_has_checksums() {
        let components = [Component {
            name: "a".to_owned(),
            version: "1.0.0".to_owned(),
            licence: "MIT".to_owned(),
            origin: Origin::Cargo,
        }];
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"00ff\"\n";
        let one = document("cli", &components, &checksums(lock));
        assert_eq!(one, document("cli", &components, &checksums(lock)));
        assert_eq!(one["components"][0]["hashes"][0]["content"], "00ff");
        let serial = one["serialNumber"].as_str().unwrap();
        assert_eq!(serial.len(), "urn:uuid:".len() + 36, "{serial}");
        let other = document("cli", &[], &checksums(lock));
        assert_ne!(one["serialNumber"], other["serialNumber"]);
    }

    #[test]
    fn the_function_is_made_of_what_cargo_links() {
        let components = components(&["nacre-krm-fn"]).unwrap();
        let names: Vec<&str> = components.iter().map(|c| c.name.as_str()).collect();
        assert!(names.contains(&"nacre-policy") && names.contains(&"regorus"));
        assert!(!names.contains(&"tokio"), "{names:?}");
    }
}
