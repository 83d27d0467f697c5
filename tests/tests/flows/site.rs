//! The documentation as the site that `cargo xtask book` builds: every link followed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::harness::given;

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
