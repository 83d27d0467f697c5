//! From texts to texts: reading, the pure transformation, and the edits written back.

use std::collections::BTreeMap;
use std::num::NonZero;

use nacre_findings::{Finding, Location, ResourceRef, codes, has_errors};
use nacre_generate::{Mode, Options, Outcome, Source};
use nacre_krm::{Document, ObjectRef, Path, Stream};
use serde_json::Value;

use crate::input::{self, Text, yaml_finding};
use crate::settings::{Settings, Supplied};

/// Annotations that name the file an object came from, most specific first.
const FILE_ANNOTATIONS: [&str; 3] = [
    "internal.config.kubernetes.io/path",
    "config.kubernetes.io/path",
    "postrenderer.helm.sh/postrender-filename",
];

/// Annotations that name an object's position in its file.
const INDEX_ANNOTATIONS: [&str; 2] = [
    "internal.config.kubernetes.io/index",
    "config.kubernetes.io/index",
];

/// Fewer changed documents than this are written back by one thread.
const PARALLEL_FROM: usize = 64;

/// Parses every text; reports the mistakes of all.
pub fn parse(texts: &[Text], limit: u64) -> Result<Vec<Source>, Vec<Finding>> {
    let mut sources = Vec::with_capacity(texts.len());
    let mut findings = Vec::new();
    for text in texts {
        match input::parse(text, limit) {
            Ok(stream) => sources.push(Source {
                file: text.name(),
                stream,
            }),
            Err(finding) => findings.push(finding),
        }
    }
    if findings.is_empty() {
        Ok(sources)
    } else {
        Err(findings)
    }
}

/// Refuses input in which there is no document at all.
pub fn require_content(sources: &[Source]) -> Result<(), Vec<Finding>> {
    let empty = |source: &Source| source.stream.documents().iter().all(Document::is_empty);
    if sources.iter().all(empty) {
        return Err(vec![
            Finding::error(codes::cli::EMPTY_INPUT, "the input holds no object")
                .help("check what comes before: nothing in is never nothing to do"),
        ]);
    }
    Ok(())
}

/// The view of the input that [`crate::settings::resolve`] takes.
pub fn supplied(sources: &[Source]) -> Vec<Supplied<'_>> {
    sources
        .iter()
        .map(|source| Supplied {
            file: source.file.as_deref(),
            stream: &source.stream,
        })
        .collect()
}

/// Runs the transformation. An outcome with errors is `Err`: nothing of it may be written.
///
/// With `manifest_item` the manifest is an object of the output too.
pub fn transform(
    sources: &[Source],
    settings: &Settings,
    mode: Mode,
    manifest_item: bool,
) -> Result<Outcome, Vec<Finding>> {
    let options = Options {
        manifest_item,
        previous: settings.previous.as_ref(),
        mode,
        workspace_coordinator: settings.coordinator.as_ref(),
        ..Options::new(&settings.config, &settings.lock)
    };
    let mut outcome = nacre_generate::generate(sources, &options);
    name_files(sources, &mut outcome.findings);
    if has_errors(&outcome.findings) {
        Err(outcome.findings)
    } else {
        Ok(outcome)
    }
}

/// New texts of the changed documents, one map (by document) for each source.
///
/// Documents do not depend on each other and are written back by as many threads as there are
/// cores. Each value is given back as soon as it is written: a long stream would hold them all.
pub fn rewrite(
    sources: &[Source],
    edits: Vec<(usize, ObjectRef, Value)>,
) -> Result<Vec<BTreeMap<usize, String>>, Vec<Finding>> {
    let mut wanted: BTreeMap<(usize, usize), Vec<(Path, Value)>> = BTreeMap::new();
    for (source, at, value) in edits {
        let job = wanted.entry((source, at.document)).or_default();
        job.push((at.base, value));
    }
    let mut jobs: Vec<Job<'_>> = wanted
        .into_iter()
        .filter_map(|((source, document), desired)| {
            let stream = &sources.get(source)?.stream;
            Some(Job {
                source,
                document,
                node: stream.documents().get(document)?,
                desired,
            })
        })
        .collect();
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let written: Vec<Written> = if jobs.len() < PARALLEL_FROM || cores < 2 {
        jobs.into_iter().map(Job::run).collect()
    } else {
        let share = jobs.len().div_ceil(cores);
        let mut parts = Vec::with_capacity(cores);
        while !jobs.is_empty() {
            let rest = jobs.split_off(share.min(jobs.len()));
            parts.push(std::mem::replace(&mut jobs, rest));
        }
        std::thread::scope(|scope| {
            let workers: Vec<_> = parts
                .into_iter()
                .map(|part| scope.spawn(|| part.into_iter().map(Job::run).collect::<Vec<_>>()))
                .collect();
            workers
                .into_iter()
                .flat_map(|worker| match worker.join() {
                    Ok(results) => results,
                    Err(panic) => std::panic::resume_unwind(panic),
                })
                .collect()
        })
    };
    let mut texts = vec![BTreeMap::new(); sources.len()];
    let mut findings = Vec::new();
    for (source, document, result) in written {
        match (result, texts.get_mut(source)) {
            (Ok(text), Some(of_source)) => {
                of_source.insert(document, text);
            }
            (Ok(_), None) => {}
            (Err(error), _) => {
                let file = sources.get(source).and_then(|source| source.file.clone());
                findings.push(yaml_finding(&error, file));
            }
        }
    }
    if findings.is_empty() {
        Ok(texts)
    } else {
        Err(findings)
    }
}

/// Source, document, and its new text.
type Written = (usize, usize, Result<String, nacre_krm::Error>);

/// One document to be written back.
struct Job<'a> {
    source: usize,
    document: usize,
    node: &'a Document,
    desired: Vec<(Path, Value)>,
}

impl Job<'_> {
    fn run(self) -> Written {
        let text = self.node.rewrite(&self.desired);
        (self.source, self.document, text)
    }
}

/// The whole text of each source after the edits; new objects stand at the end of the last.
pub fn render(
    sources: &[Source],
    rewritten: &[BTreeMap<usize, String>],
    added: &[Value],
) -> Vec<String> {
    let none = BTreeMap::new();
    let last = sources.len().saturating_sub(1);
    sources
        .iter()
        .enumerate()
        .map(|(index, source)| {
            let added = if index == last { added } else { &[] };
            source
                .stream
                .render(rewritten.get(index).unwrap_or(&none), added)
        })
        .collect()
}

/// Several texts as one stream; one text as it is.
pub fn join(mut texts: Vec<String>) -> String {
    if texts.len() == 1 {
        return texts.pop().unwrap_or_default();
    }
    let mut out = String::with_capacity(texts.iter().map(|text| text.len() + 8).sum());
    for text in &texts {
        if out.is_empty() {
            out.push_str(text);
            continue;
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim().is_empty() {
            continue;
        }
        if !out.ends_with('\n') {
            out.push('\n');
        }
        let marked = text.starts_with("---") || text.starts_with('%');
        if text.starts_with('%') {
            // A directive is read as text unless the document before is closed.
            out.push_str("...\n");
        } else if !marked {
            out.push_str("---\n");
        }
        out.push_str(text);
    }
    out
}

/// Gives findings the file that an orchestrator's annotation names: positions in a stream from
/// standard input say nothing to its user.
pub fn name_files(sources: &[Source], findings: &mut [Finding]) {
    if findings
        .iter()
        .all(|finding| finding.location.file.is_some())
    {
        return;
    }
    let mut files: BTreeMap<(String, String, Option<String>, String), Location> = BTreeMap::new();
    for source in sources.iter().filter(|source| source.file.is_none()) {
        for at in source.stream.objects() {
            if let Some((resource, location)) = named_file(&source.stream, &at) {
                files.entry(key(&resource)).or_insert(location);
            }
        }
    }
    for finding in findings
        .iter_mut()
        .filter(|finding| finding.location.file.is_none())
    {
        let file = finding
            .resource
            .as_ref()
            .and_then(|resource| files.get(&key(resource)));
        if let Some(file) = file {
            finding.location = file.clone();
        }
    }
}

fn key(resource: &ResourceRef) -> (String, String, Option<String>, String) {
    (
        resource.api_version.clone(),
        resource.kind.clone(),
        resource.namespace.clone(),
        resource.name.clone(),
    )
}

fn named_file(stream: &Stream, at: &ObjectRef) -> Option<(ResourceRef, Location)> {
    let document = stream.documents().get(at.document)?;
    let text = |path: Path| document.str_at(&path).map(|text| text.into_owned());
    let metadata = at.base.key("metadata");
    let annotations = metadata.key("annotations");
    let file = FILE_ANNOTATIONS
        .iter()
        .find_map(|name| text(annotations.key(name)))?;
    let index = INDEX_ANNOTATIONS
        .iter()
        .find_map(|name| text(annotations.key(name)));
    let resource = ResourceRef {
        api_version: text(at.base.key("apiVersion"))?,
        kind: text(at.base.key("kind"))?,
        namespace: text(metadata.key("namespace")),
        name: text(metadata.key("name"))?,
    };
    let mut location = Location::file(file);
    location.index = index.and_then(|index| index.parse().ok());
    Some((resource, location))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source {
            file: None,
            stream: Stream::parse(text).unwrap(),
        }
    }

    #[test]
    fn texts_join_to_a_stream_with_the_same_objects() {
        let texts = [
            "\u{feff}a: 1",
            "\u{feff}b: 2\n",
            "",
            "---\nc: 3\n",
            "# only\n",
            "d: 4\n",
        ]
        .map(str::to_owned);
        let joined = join(texts.to_vec());
        let stream = Stream::parse(joined.as_str()).unwrap();
        let values: Vec<Value> = stream
            .objects()
            .iter()
            .map(|at| stream.documents()[at.document].value(&at.base).unwrap())
            .collect();
        let expected: Vec<Value> = [("a", 1), ("b", 2), ("c", 3), ("d", 4)]
            .iter()
            .map(|(key, value)| serde_json::json!({ *key: value }))
            .collect();
        assert_eq!(values, expected, "{joined}");
        assert_eq!(join(vec!["a: 1\r\n".to_owned()]), "a: 1\r\n");
    }

    #[test]
    fn edits_of_many_documents_are_written_back_in_place() {
        let count = PARALLEL_FROM * 3;
        let text: String = (0..count)
            .map(|n| format!("---\n# {n}\nvalue: {n}\n"))
            .collect();
        let sources = [source("untouched: true\n"), source(&text)];
        let edits: Vec<_> = (0..count)
            .rev()
            .step_by(2)
            .map(|n| {
                let at = ObjectRef {
                    document: n,
                    base: Path::root(),
                };
                (1, at, serde_json::json!({ "value": n + 1000 }))
            })
            .collect();
        let rewritten = rewrite(&sources, edits).unwrap();
        let texts = render(&sources, &rewritten, &[]);
        assert_eq!(texts[0], "untouched: true\n");
        let expected: String = (0..count)
            .map(|n| {
                format!(
                    "---\n# {n}\nvalue: {}\n",
                    if n % 2 == 1 { n + 1000 } else { n }
                )
            })
            .collect();
        assert_eq!(texts[1], expected);
    }

    #[test]
    fn findings_get_the_file_of_the_orchestrator() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  annotations:\n    \
                    config.kubernetes.io/path: app/web.yaml\n    config.kubernetes.io/index: '2'\n";
        let resource = ResourceRef {
            api_version: "v1".into(),
            kind: "Pod".into(),
            namespace: None,
            name: "web".into(),
        };
        let position = Location::default().with_position(3, 1);
        let mut findings = vec![
            Finding::error(codes::cli::INTERNAL, "x")
                .resource(resource)
                .at(position.clone()),
            Finding::error(codes::cli::INTERNAL, "y").at(position.clone()),
        ];
        name_files(&[source(text)], &mut findings);
        assert_eq!(
            findings[0].location,
            Location::file("app/web.yaml").with_index(2)
        );
        assert_eq!(findings[1].location, position);
    }

    #[test]
    fn comments_alone_are_no_content() {
        assert!(require_content(&[source("# nothing\n---\n")]).is_err());
        assert!(require_content(&[source("")]).is_err());
        assert!(require_content(&[source(""), source("a: 1\n")]).is_ok());
    }
}
