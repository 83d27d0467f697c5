//! Diagrams of the documentation: `docs/diagrams/*.dot`, drawn by Graphviz.
//!
//! A page names the source, which is in the repository; the site has the picture at its place.
//!
//! Graphviz gets only its core and the layout `dot`, not the plugin that measures text with the fonts of the
//! machine: widths then come from its own tables, and a picture is the same wherever it is drawn. Colours are
//! put in afterwards as a style sheet with a light and a dark half. Each half brings its own background, so a
//! picture can be read on a page of either kind.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{process, workspace};

/// What the layout is made with, in Graphviz's `class` attribute, and how it looks.
struct Look {
    /// CSS selector of the shapes.
    shapes: &'static str,
    light: Colours,
    dark: Colours,
}

/// Colours as `#rrggbb`.
struct Colours {
    fill: &'static str,
    stroke: &'static str,
}

/// Text in the light and the dark half.
const TEXT: (&str, &str) = ("#1f2328", "#e6edf3");

const fn colours(fill: &'static str, stroke: &'static str) -> Colours {
    Colours { fill, stroke }
}

/// The more special come later: of two rules that fit equally well the last counts.
const LOOKS: &[Look] = &[
    Look {
        shapes: ".graph > polygon",
        light: colours("#ffffff", "#ffffff"),
        dark: colours("#0d1117", "#0d1117"),
    },
    Look {
        shapes: ".cluster polygon",
        light: colours("#f6f8fa", "#6e7781"),
        dark: colours("#161b22", "#8b949e"),
    },
    Look {
        shapes: ".node path, .node polygon, .node ellipse",
        light: colours("#ffffff", "#57606a"),
        dark: colours("#21262d", "#8b949e"),
    },
    Look {
        shapes: ".trusted polygon, .trusted path",
        light: colours("#e6f6ea", "#1a7f37"),
        dark: colours("#12261a", "#3fb950"),
    },
    Look {
        shapes: ".hostile polygon, .hostile path",
        light: colours("#fdeceb", "#cf222e"),
        dark: colours("#2d1517", "#f85149"),
    },
    Look {
        shapes: ".ours path",
        light: colours("#ddf4ff", "#0969da"),
        dark: colours("#10233d", "#58a6ff"),
    },
];

/// Lines of arrows, whose heads are filled with the same.
const ARROWS: (&str, &str) = ("#57606a", "#8b949e");

/// Layouts are made with text of 14 points; it is shown smaller, so that wider fonts than Arial fit too.
const FONT: &str =
    "text { font: 12px Arial, Helvetica, \"Liberation Sans\", \"DejaVu Sans\", sans-serif; }";

/// Draws every diagram beside its copy in the site, and lets the pages show the pictures.
pub(super) fn draw(dot: &Path, site: &Path) -> Result<()> {
    let plugins = Plugins::prepare(dot)?;
    let mut shown = BTreeMap::new();
    for source in sources()? {
        let picture = picture(dot, &plugins, &source)?;
        let name = source.file_stem().context("a file has a name")?;
        let name = name.to_str().context("a name in UTF-8")?;
        fs::write(
            site.join("diagrams").join(name).with_extension("svg"),
            picture,
        )?;
        shown.insert(name.to_owned(), false);
    }
    if shown.is_empty() {
        bail!("docs/diagrams has no diagram");
    }
    show(site, &mut shown)?;
    if let Some((name, _)) = shown.iter().find(|(_, shown)| !**shown) {
        bail!("no page shows docs/diagrams/{name}.dot");
    }
    Ok(())
}

/// Replaces sources by pictures in the images of every page below a folder.
fn show(folder: &Path, shown: &mut BTreeMap<String, bool>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            show(&path, shown)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "html")
        {
            let page = fs::read_to_string(&path)?;
            let mut changed = page.clone();
            for (name, shown) in &mut *shown {
                let source = format!("diagrams/{name}.dot\" alt=");
                *shown |= changed.contains(&source);
                changed = changed.replace(&source, &format!("diagrams/{name}.svg\" alt="));
            }
            if changed != page {
                fs::write(&path, changed)?;
            }
        }
    }
    Ok(())
}

/// The diagrams by name.
fn sources() -> Result<Vec<PathBuf>> {
    let folder = workspace::root().join("docs/diagrams");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "dot") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A folder with the plugins that Graphviz may use, and its list of them.
struct Plugins {
    folder: tempfile::TempDir,
}

impl Plugins {
    fn prepare(dot: &Path) -> Result<Plugins> {
        // What `dot` says first with -v: libdir = "/usr/lib/…/graphviz".
        let mut ask = Command::new(dot);
        ask.args(["-v", "-Tdot", "/dev/null"]);
        let output = ask.output().context("cannot start dot")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let installed = said
            .lines()
            .find_map(|line| line.strip_prefix("libdir = \"")?.strip_suffix('"'))
            .with_context(|| format!("dot does not say where its plugins are:\n{said}"))?;

        let folder = tempfile::tempdir()?;
        for entry in fs::read_dir(installed).with_context(|| installed.to_owned())? {
            let entry = entry?;
            let name = entry.file_name();
            let wanted = ["libgvplugin_core.so", "libgvplugin_dot_layout.so"];
            if wanted
                .iter()
                .any(|wanted| name.to_string_lossy().starts_with(wanted))
            {
                symlink(entry.path(), folder.path().join(&name))?;
            }
        }
        let plugins = Plugins { folder };
        process::output(plugins.dot(dot).arg("-c"))?;
        Ok(plugins)
    }

    /// Graphviz with these plugins only.
    fn dot(&self, dot: &Path) -> Command {
        let mut command = Command::new(dot);
        command.env("GVBINDIR", self.folder.path());
        command
    }
}

/// One diagram as SVG, with both halves of its colours.
fn picture(dot: &Path, plugins: &Plugins, source: &Path) -> Result<String> {
    let svg = process::output(plugins.dot(dot).arg("-Tsvg").arg(source))?;
    // Before it stand a document type, which an image does not need, and the version of Graphviz.
    let start = svg.find("<svg").context("dot wrote no SVG")?;
    let (_, svg) = svg.split_at(start);
    let (opening, rest) = svg
        .split_once('>')
        .context("an element that does not end")?;
    Ok(format!(
        "{opening}>\n<style>\n{}</style>{rest}",
        style_sheet()
    ))
}

fn style_sheet() -> String {
    let mut sheet = format!("{FONT}\n");
    half(&mut sheet, TEXT.0, ARROWS.0, |look| &look.light);
    sheet.push_str("@media (prefers-color-scheme: dark) {\n");
    half(&mut sheet, TEXT.1, ARROWS.1, |look| &look.dark);
    sheet.push_str("}\n");
    // Over both: an arrow is a line with a head, a life line is dashed.
    sheet.push_str(".edge path { fill: none; }\n.life path { stroke-dasharray: 4 3; }\n");
    sheet
}

fn half(sheet: &mut String, text: &str, arrows: &str, colours: impl Fn(&Look) -> &Colours) {
    let _ = writeln!(sheet, "text {{ fill: {text}; }}");
    let _ = writeln!(sheet, ".edge path {{ stroke: {arrows}; }}");
    let _ = writeln!(
        sheet,
        ".edge polygon {{ fill: {arrows}; stroke: {arrows}; }}"
    );
    for look in LOOKS {
        let Colours { fill, stroke } = colours(look);
        let _ = writeln!(
            sheet,
            "{} {{ fill: {fill}; stroke: {stroke}; }}",
            look.shapes
        );
    }
    let _ = writeln!(
        sheet,
        ".edge path, .edge polygon {{ fill: {arrows}; stroke: {arrows}; }}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance of `#rrggbb`, from 0 to 1, as WCAG 2.2 defines it.
    fn luminance(colour: &str) -> f64 {
        let channel = |at: usize| {
            let value = u8::from_str_radix(&colour[at..at + 2], 16).unwrap();
            let value = f64::from(value) / 255.0;
            match value <= 0.04045 {
                true => value / 12.92,
                false => ((value + 0.055) / 1.055).powf(2.4),
            }
        };
        0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
    }

    /// Contrast ratio of two colours, from 1 to 21.
    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[test]
    fn both_halves_can_be_read() {
        assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 0.01);
        for look in LOOKS {
            for (text, colours) in [(TEXT.0, &look.light), (TEXT.1, &look.dark)] {
                // AAA for text; 3 for lines, which only the background itself has no need of.
                assert!(contrast(text, colours.fill) >= 7.0, "{}", look.shapes);
                if look.shapes != ".graph > polygon" {
                    let lines = contrast(colours.stroke, colours.fill);
                    assert!(lines >= 3.0, "{}: {lines}", look.shapes);
                }
            }
        }
    }

    #[test]
    fn a_diagram_is_drawn_the_same_twice_and_with_its_words() {
        let dot = std::env::var_os(crate::tools::DOT)
            .unwrap_or_else(|| panic!("{} is not set: run `cargo xtask test`", crate::tools::DOT));
        let dot = PathBuf::from(dot);
        let sources = sources().unwrap();
        assert!(sources.len() >= 3, "{sources:?}");
        for source in sources {
            // With two lists of plugins, as on two machines.
            let draw = || picture(&dot, &Plugins::prepare(&dot).unwrap(), &source).unwrap();
            let picture = draw();
            assert_eq!(picture, draw(), "{}", source.display());
            assert!(picture.starts_with("<svg"), "{picture}");
            assert!(picture.contains("prefers-color-scheme: dark"), "{picture}");
            let text = picture.replace("&#45;", "-").replace("&#39;", "'");
            for label in labels(&fs::read_to_string(&source).unwrap()) {
                assert!(text.contains(&format!(">{label}<")), "{label}");
            }
        }
    }

    /// The lines of every label of a source.
    fn labels(source: &str) -> Vec<String> {
        let parts = source.split("label=\"").skip(1);
        let labels = parts.filter_map(|part| Some(part.split_once('"')?.0));
        labels
            .flat_map(|label| label.split("\\n"))
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }
}
