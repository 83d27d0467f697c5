//! The documentation as the site that `cargo xtask book` builds: every link followed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::harness::{given, root};

/// A page as a browser gets it: what can be jumped to, what it leads to.
struct Page {
    anchors: BTreeSet<String>,
    links: Vec<String>,
}

impl Page {
    fn parse(html: &str) -> Page {
        let values = |attribute: &str| -> Vec<String> {
            let opening = format!("{attribute}=\"");
            let parts = html.split(opening.as_str()).skip(1);
            parts
                .filter_map(|part| Some(part.split_once('"')?.0.replace("&amp;", "&")))
                .collect()
        };
        let links = [values(" href"), values(" src")].concat();
        Page {
            anchors: values(" id").into_iter().collect(),
            links,
        }
    }
}

fn pages(folder: &Path, prefix: &Path, found: &mut BTreeMap<PathBuf, Page>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = prefix.join(path.file_name().unwrap());
        if path.is_dir() {
            pages(&path, &name, found);
        } else if name
            .extension()
            .is_some_and(|extension| extension == "html")
        {
            found.insert(name, Page::parse(&fs::read_to_string(&path).unwrap()));
        }
    }
}

/// `a/../b` → `b`; `None` above the root.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                if !parts.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            other => parts.push(other),
        }
    }
    Some(parts)
}

#[test]
fn every_link_leads_somewhere() {
    let site = given("NACRE_TEST_SITE");
    let mut all = BTreeMap::new();
    pages(&site, Path::new(""), &mut all);
    // The whole book on one page repeats everything, and the side bar has no place of its own.
    all.retain(|name, _| !["print.html", "toc.html"].contains(&name.to_str().unwrap()));
    assert!(all.len() > 20, "{:?}", all.keys());
    let mut wrong = Vec::new();
    let mut followed = 0;
    for (name, page) in &all {
        for link in &page.links {
            if link.contains("://") || link.starts_with("mailto:") || link.starts_with("data:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => Some(name.clone()),
                path => normal(&name.parent().unwrap().join(path)),
            };
            let exists = target
                .as_ref()
                .is_some_and(|target| site.join(target).exists());
            let page = target.as_ref().and_then(|target| all.get(target));
            let has_anchor =
                anchor.is_empty() || page.is_none_or(|page| page.anchors.contains(anchor));
            if !exists || !has_anchor {
                wrong.push(format!("{}: {link}", name.display()));
            }
            followed += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(followed > 500, "{followed}");
}

/// The elements `<img …>` of a page.
fn images(html: &str) -> Vec<&str> {
    let parts = html.split("<img ").skip(1);
    parts
        .filter_map(|part| Some(part.split_once('>')?.0))
        .collect()
}

fn attribute<'t>(element: &'t str, name: &str) -> &'t str {
    let opening = format!("{name}=\"");
    let value = element.split_once(opening.as_str());
    let value = value.and_then(|(_, rest)| rest.split_once('"'));
    value.map(|(value, _)| value).unwrap_or_default()
}

#[test]
fn every_diagram_is_drawn_and_shown_with_its_meaning_in_words() {
    let site = given("NACRE_TEST_SITE");
    let mut shown: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let mut names = BTreeMap::new();
    pages(&site, Path::new(""), &mut names);
    names.retain(|name, _| name != Path::new("print.html"));
    for name in names.keys() {
        let html = fs::read_to_string(site.join(name)).unwrap();
        for image in images(&html) {
            let target = name.parent().unwrap().join(attribute(image, "src"));
            // More than a name: who does not see the picture reads what is in it.
            let words = attribute(image, "alt").split_whitespace().count();
            assert!(words >= 8, "{}: {image}", name.display());
            *shown.entry(normal(&target).unwrap()).or_default() += 1;
        }
    }
    let mut sources = 0;
    for entry in fs::read_dir(root().join("docs/diagrams")).unwrap() {
        let source = entry.unwrap().path();
        let name = Path::new("diagrams").join(source.file_name().unwrap());
        let drawn = name.with_extension("svg");
        let picture = fs::read_to_string(site.join(&drawn)).unwrap();
        assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
        assert!(
            shown.contains_key(&drawn),
            "no page shows {}",
            drawn.display()
        );
        sources += 1;
    }
    assert!(sources >= 3, "{sources}");
}
