//! The reference page of the configuration.

use crate::config::{API_VERSION, Confidential, KIND, fields};
use crate::flat;
use crate::object::Field;

/// The files in `docs/` that come from the types: path from the root of the repository, and text.
pub fn generated_files() -> Vec<(&'static str, String)> {
    vec![
        ("docs/configuration.md", markdown()),
        (
            "docs/schema/confidential.json",
            format!("{:#}\n", Confidential::json_schema()),
        ),
        (
            "docs/schema/manifest.json",
            format!("{:#}\n", nacre_manifest::schema()),
        ),
    ]
}

/// The text of `docs/configuration.md`.
pub fn markdown() -> String {
    let mut text = format!(
        "# Configuration\n\n\
         <!-- Generated from fnconfig/src/config.rs; edit there, then run `cargo xtask codegen`. -->\n\n\
         One object configures the function, the post-renderer and `nacre`:\n\n\
         ```yaml\napiVersion: {API_VERSION}\nkind: {KIND}\nmetadata:\n  name: confidential\nspec:\n  \
         platform: metal-qemu-snp\n```\n\n\
         Unknown fields are errors. The same fields can be given flat: as entries of a ConfigMap\n\
         (`kpt fn eval … -- platform=metal-qemu-snp skip-initializer=true`), as flags\n\
         (`--skip-initializer`) and as variables (`NACRE_SKIP_INITIALIZER=true`). In flat form a list is\n\
         written with commas, and everything deeper as JSON. A flag wins over a variable, a variable over\n\
         the object.\n",
    );
    let mut sections = vec![(Vec::new(), fields())];
    while !sections.is_empty() {
        let mut below = Vec::new();
        for (path, fields) in sections {
            section(&path, fields, &mut text, &mut below);
        }
        sections = below;
    }
    text
}

type Section = (Vec<String>, &'static [Field]);

fn section(path: &[String], fields: &'static [Field], text: &mut String, below: &mut Vec<Section>) {
    let heading = match path {
        [] => "spec".to_owned(),
        path => format!("spec.{}", path.join(".")),
    };
    text.push_str(&format!("\n## `{heading}`\n\n"));
    text.push_str("| Field | Type | Default | Meaning |\n| --- | --- | --- | --- |\n");
    for field in fields {
        let list = (field.words)().starts_with("list");
        let children = (field.fields)();
        if !children.is_empty() {
            let mut path = path.to_vec();
            path.push(if list {
                format!("{}[]", field.key)
            } else {
                field.key.to_owned()
            });
            below.push((path, children));
        }
        text.push_str(&row(path, field));
    }
}

fn row(path: &[String], field: &Field) -> String {
    let default = match (field.required, field.default, (field.words)().as_str()) {
        (true, _, _) => "must be given".to_owned(),
        (false, "", "true or false") => "false".to_owned(),
        (false, default, _) => default.to_owned(),
    };
    let steps: Vec<&str> = path.iter().map(String::as_str).chain([field.key]).collect();
    let own = steps.join(".");
    let flat: Vec<String> = flat::names_of(&steps)
        .into_iter()
        .filter(|name| *name != own)
        .map(|name| format!("`{name}`"))
        .collect();
    let flat = match flat.is_empty() {
        true => String::new(),
        false => format!(" Flat: {}.", flat.join(", ")),
    };
    let words = (field.words)().replace('|', "\\|");
    format!(
        "| `{}` | {words} | {default} | {}{flat} |\n",
        field.key,
        field.text().replace('|', "\\|")
    )
}
