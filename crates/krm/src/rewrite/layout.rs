//! The style of the text around an edit.

use crate::emit::{FlowStyle, Layout, Place, SeqIndent};
use crate::gap;
use crate::path::Path;
use crate::stream::Document;
use crate::tree::{Id, Kind, Tree};

/// Where kyaml notes how the file it read was indented.
const SEQ_INDENT: &str = "internal.config.kubernetes.io/seqindent";

/// What the text of a node shows of its style.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    step: Option<usize>,
    seq: Option<SeqIndent>,
}

/// The layout for new text inside `scope`: as the node itself is laid out, else as its
/// annotation says, else as the rest of the document is.
pub(crate) fn layout(document: &Document, scope: Id, newline: &'static str) -> Layout {
    let mut seen = look(document, scope, Seen::default());
    if seen.seq.is_none() {
        seen.seq = annotated(document, scope);
    }
    if scope != Id::ROOT && (seen.seq.is_none() || seen.step.is_none()) {
        seen = look(document, Id::ROOT, seen);
    }
    Layout {
        step: seen.step.unwrap_or(Layout::DEFAULT.step),
        seq: seen.seq.unwrap_or(Layout::DEFAULT.seq),
        newline,
    }
}

/// The first nested mapping and the first list under a key in the subtree.
fn look(document: &Document, scope: Id, mut seen: Seen) -> Seen {
    let tree = document.tree();
    let text = document.source();
    let end = tree.node(scope).next;
    let mut id = scope;
    while id < end && (seen.step.is_none() || seen.seq.is_none()) {
        if tree.node(id).kind == Kind::Map {
            look_at(text, tree, id, &mut seen);
        }
        id = id.first_child();
    }
    seen
}

fn look_at(text: &str, tree: &Tree, map: Id, seen: &mut Seen) {
    let column = gap::column(text, tree.outer_start(map.first_child()));
    for (_, value) in tree.entries(map) {
        let node = tree.node(value);
        match node.kind {
            Kind::Map if seen.step.is_none() => {
                let inner = gap::column(text, tree.outer_start(value.first_child()));
                seen.step = inner
                    .checked_sub(column)
                    .filter(|step| (1..=8).contains(step));
            }
            Kind::Seq if seen.seq.is_none() => {
                let dash = gap::column(text, node.from());
                seen.seq = Some(if dash > column {
                    SeqIndent::Wide
                } else {
                    SeqIndent::Compact
                });
            }
            _ => {}
        }
        if seen.step.is_some() && seen.seq.is_some() {
            return;
        }
    }
}

fn annotated(document: &Document, scope: Id) -> Option<SeqIndent> {
    let reader = document.reader();
    let mut id = scope;
    for step in Path::root()
        .key("metadata")
        .key("annotations")
        .key(SEQ_INDENT)
        .steps()
    {
        id = reader.step(id, step)?;
    }
    match reader.str(id)?.as_ref() {
        "wide" => Some(SeqIndent::Wide),
        "compact" => Some(SeqIndent::Compact),
        _ => None,
    }
}

/// Whether the document is JSON: braces around everything and quotes around keys.
pub(crate) fn is_json(tree: &Tree) -> bool {
    match tree.node(Id::ROOT).kind {
        Kind::FlowMap => tree
            .entries(Id::ROOT)
            .next()
            .is_none_or(|(key, _)| tree.node(key).kind == Kind::Double),
        Kind::FlowSeq => tree
            .items(Id::ROOT)
            .next()
            .is_some_and(|item| tree.node(item).kind == Kind::FlowMap && quotes_keys(tree, item)),
        _ => false,
    }
}

fn quotes_keys(tree: &Tree, map: Id) -> bool {
    let mut entries = tree.entries(map).peekable();
    entries.peek().is_some() && entries.all(|(key, _)| tree.node(key).kind == Kind::Double)
}

/// The style for new text inside a flow collection.
pub(crate) fn flow_style(text: &str, tree: &Tree, container: Id) -> FlowStyle {
    let json = is_json(tree)
        || (tree.node(container).kind == Kind::FlowMap && quotes_keys(tree, container));
    // The first colon of the container, else of the document, shows whether a blank follows.
    let shown = [container, Id::ROOT]
        .into_iter()
        .filter(|id| tree.node(*id).kind == Kind::FlowMap)
        .find_map(|id| tree.entries(id).next());
    let spaced = shown.is_none_or(|(key, value)| {
        tree.node(key).kind != Kind::Double || {
            let colon = gap::skip(text, tree.node(key).to());
            tree.outer_start(value) > colon + 1
        }
    });
    FlowStyle {
        json,
        spaced,
        place: Place::Flow,
    }
}
