//! One document's text to its [`Tree`], by the events of the YAML parser.

use std::borrow::Cow;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, Span, StructureStyle};

use crate::error::{Error, Position};
use crate::gap;
use crate::limits::Limits;
use crate::read::Reader;
use crate::syntax;
use crate::tree::{Anchor, Id, Kind, Node, Tag, TagKind, Tree};

/// A document and the text it covers.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// Where the document ends; the next one starts there.
    pub(crate) end: usize,
    pub(crate) tree: Tree,
}

/// Reads the documents in `text[from..to]`: usually one, more where `...` separates them.
pub(crate) fn parse(
    text: &str,
    from: usize,
    to: usize,
    limits: &Limits,
) -> Result<Vec<Parsed>, Error> {
    let chunk = text.get(from..to).unwrap_or_default();
    let mut options = granit_parser::Options::default();
    options.emit_anchor_events = true;
    options.emit_comments = false;
    options.block_scalar_eof_without_line_feed = true;
    options.flow_nesting_limit = limits.depth;
    options.block_nesting_limit = limits.depth;
    let mut builder = Builder::new(text, from, limits);
    let mut documents = Vec::new();
    for event in Parser::new_from_str_with_options(chunk, options) {
        let (event, span) = event.map_err(|e| {
            let at = from + e.marker().byte_offset().unwrap_or(0);
            syntax::explain(text, at, e.kind(), limits)
        })?;
        match event {
            Event::DocumentStart(explicit, _) => builder.begin(explicit, &span),
            Event::DocumentEnd => {
                let tree = builder.finish();
                let end = document_end(text, from, to, &span);
                builder.last = end;
                documents.push(Parsed { end, tree });
            }
            event => builder.event(event, &span)?,
        }
    }
    if let Some(last) = documents.last_mut() {
        last.end = to;
    }
    Ok(documents)
}

/// A document ends behind the line of its `...`, or where the next one's marker stands.
fn document_end(text: &str, from: usize, to: usize, span: &Span) -> usize {
    let end = from + span.end.byte_offset().unwrap_or(0);
    let rest = text.get(end..to).unwrap_or_default();
    match rest.find(['\n', '\r']) {
        Some(at) if span.start.byte_offset() != span.end.byte_offset() => {
            let crlf = rest.get(at..).is_some_and(|r| r.starts_with("\r\n"));
            end + at + if crlf { 2 } else { 1 }
        }
        Some(_) => end,
        None => to,
    }
}

/// A collection whose end has not been seen.
struct Open {
    id: Id,
    /// Values inside, aliases expanded.
    size: usize,
    /// Levels inside, aliases expanded.
    depth: usize,
    /// End of the last child.
    end: u32,
}

/// An anchored node.
struct Anchored {
    /// The parser's number of the anchor.
    number: usize,
    id: Id,
    size: usize,
    depth: usize,
    open: bool,
}

struct Builder<'t> {
    text: &'t str,
    base: usize,
    limits: &'t Limits,
    tree: Tree,
    open: Vec<Open>,
    anchored: Vec<Anchored>,
    /// End of the last thing read that is not a blank, comment or indicator.
    last: usize,
}

impl<'t> Builder<'t> {
    fn new(text: &'t str, base: usize, limits: &'t Limits) -> Self {
        Self {
            text,
            base,
            limits,
            tree: Tree::default(),
            open: Vec::new(),
            anchored: Vec::new(),
            last: base,
        }
    }

    fn begin(&mut self, explicit: bool, span: &Span) {
        // A document without a marker is named at its content, which for a block scalar stands
        // behind its header.
        if explicit {
            self.last = widen(self.offsets(span).1);
        }
        self.tree = Tree::default();
        self.open.clear();
        self.anchored.clear();
    }

    fn finish(&mut self) -> Tree {
        let mut tree = std::mem::take(&mut self.tree);
        if tree.nodes.is_empty() {
            tree = Tree::empty(self.base);
        }
        tree.shrink();
        tree
    }

    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), Error> {
        match event {
            Event::Scalar(value, style, anchor, tag) => {
                let tag = tag.as_deref();
                self.scalar(value, style, anchor, tag, span)
            }
            Event::MappingStart(style, anchor, tag) => {
                let kind = match style {
                    StructureStyle::Flow => Kind::FlowMap,
                    StructureStyle::Block => Kind::Map,
                };
                self.start(kind, anchor, tag.as_deref(), span)
            }
            Event::SequenceStart(style, anchor, tag) => {
                let kind = match style {
                    StructureStyle::Flow => Kind::FlowSeq,
                    StructureStyle::Block => Kind::Seq,
                };
                self.start(kind, anchor, tag.as_deref(), span)
            }
            Event::MappingEnd | Event::SequenceEnd => self.end(span),
            Event::Alias(number) => self.alias(number, span),
            Event::Anchor(number, _) => {
                self.place_anchor(number, span);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        value: Cow<'_, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&granit_parser::Tag>,
        span: &Span,
    ) -> Result<(), Error> {
        let (start, end) = self.offsets(span);
        let kind = match style {
            ScalarStyle::Plain if start == end => Kind::Empty,
            ScalarStyle::Plain => Kind::Plain,
            ScalarStyle::SingleQuoted => Kind::Single,
            ScalarStyle::DoubleQuoted => Kind::Double,
            ScalarStyle::Literal => Kind::Literal,
            ScalarStyle::Folded => Kind::Folded,
        };
        let (start, end) = match kind {
            Kind::Empty => {
                let at = self.empty_place(start, anchor != 0 || tag.is_some());
                (at, at)
            }
            Kind::Literal | Kind::Folded => (self.header(start), self.scalar_end(end)),
            _ => (start, end),
        };
        self.last = widen(end);
        let id = self.push(Node {
            start,
            end,
            next: Id(0),
            kind,
            flags: 0,
        });
        self.set_tag(id, tag, span);
        if kind != Kind::Empty && (matches!(value, Cow::Owned(_)) || kind.is_block_scalar()) {
            self.tree
                .decoded
                .push((id, value.into_owned().into_boxed_str()));
            self.flag(id, Node::DECODED);
        }
        self.check_scalar(id)?;
        self.close(id, 1, 0, anchor, end)
    }

    fn start(
        &mut self,
        kind: Kind,
        anchor: usize,
        tag: Option<&granit_parser::Tag>,
        span: &Span,
    ) -> Result<(), Error> {
        let (mut start, end) = self.offsets(span);
        match kind {
            Kind::FlowMap | Kind::FlowSeq => self.last = widen(end),
            Kind::Seq => start = self.first_dash(start),
            _ => {}
        }
        let id = self.push(Node {
            start,
            end,
            next: Id(0),
            kind,
            flags: 0,
        });
        self.set_tag(id, tag, span);
        if self.open.len() >= self.limits.depth {
            return Err(Error::Depth {
                at: self.position(start),
                limit: self.limits.depth,
            });
        }
        self.open.push(Open {
            id,
            size: 1,
            depth: 1,
            end,
        });
        if anchor != 0 {
            self.anchored.push(Anchored {
                number: anchor,
                id,
                size: 0,
                depth: 0,
                open: true,
            });
        }
        Ok(())
    }

    fn end(&mut self, span: &Span) -> Result<(), Error> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let (_, span_end) = self.offsets(span);
        let kind = self.tree.node(open.id).kind;
        let bracket = kind.is_flow()
            && self
                .byte_at(span_end.saturating_sub(1))
                .is_some_and(|b| b == b'}' || b == b']');
        let end = if bracket {
            span_end.max(open.end)
        } else {
            open.end
        };
        self.last = self.last.max(widen(end));
        let next = self.next_id();
        if let Some(node) = self
            .tree
            .nodes
            .get_mut(usize::try_from(open.id.0).unwrap_or(usize::MAX))
        {
            node.next = next;
            node.end = end;
        }
        if kind.is_map() {
            let reader = Reader::new(self.text, &self.tree);
            if reader.check_mapping(open.id)? {
                let at = self.tree.merges.partition_point(|id| *id < open.id);
                self.tree.merges.insert(at, open.id);
            }
        }
        let mut size = open.size;
        let mut depth = open.depth;
        if let Ok(at) = self.anchored.binary_search_by_key(&open.id, |a| a.id)
            && let Some(anchored) = self.anchored.get_mut(at)
        {
            anchored.size = size;
            anchored.depth = depth;
            anchored.open = false;
        }
        self.account(&mut size, &mut depth, end, open.id)
    }

    fn alias(&mut self, number: usize, span: &Span) -> Result<(), Error> {
        let (start, end) = self.offsets(span);
        let id = self.push(Node {
            start,
            end,
            next: Id(0),
            kind: Kind::Alias,
            flags: 0,
        });
        self.last = widen(end);
        let Some(target) = self.anchored_by(number) else {
            return Err(Error::Syntax {
                at: self.position(start),
                reason: ErrorKind::UnknownAnchor.to_string(),
            });
        };
        if target.open {
            return Err(Error::Recursive {
                at: self.position(start),
            });
        }
        let (mut size, mut depth, target) = (target.size, target.depth, target.id);
        self.tree.aliases.push((id, target));
        if let Ok(at) = self
            .tree
            .anchors
            .binary_search_by_key(&target, |(id, _)| *id)
            && let Some((_, anchor)) = self.tree.anchors.get_mut(at)
        {
            anchor.used = true;
        }
        self.seal(id);
        self.account(&mut size, &mut depth, end, id)
    }

    /// The parser numbers anchors in the order of the text.
    fn anchored_by(&self, number: usize) -> Option<&Anchored> {
        let at = self
            .anchored
            .binary_search_by_key(&number, |a| a.number)
            .ok()?;
        self.anchored.get(at)
    }

    /// Completes a scalar.
    fn close(
        &mut self,
        id: Id,
        mut size: usize,
        mut depth: usize,
        anchor: usize,
        end: u32,
    ) -> Result<(), Error> {
        self.seal(id);
        if anchor != 0 {
            self.anchored.push(Anchored {
                number: anchor,
                id,
                size,
                depth,
                open: false,
            });
        }
        self.account(&mut size, &mut depth, end, id)
    }

    /// Adds a finished node to the collection around it.
    fn account(
        &mut self,
        size: &mut usize,
        depth: &mut usize,
        end: u32,
        id: Id,
    ) -> Result<(), Error> {
        let level = self.open.len();
        let Some(parent) = self.open.last_mut() else {
            return Ok(());
        };
        parent.size = parent.size.saturating_add(*size);
        parent.depth = parent.depth.max(depth.saturating_add(1));
        parent.end = parent.end.max(end);
        let too_big = !self.tree.aliases.is_empty() && parent.size > self.limits.expansion;
        let too_deep = level.saturating_add(*depth) > self.limits.depth;
        let start = self.tree.node(id).start;
        if too_big {
            return Err(Error::Expansion {
                at: self.position(start),
                limit: self.limits.expansion,
            });
        }
        if too_deep {
            return Err(Error::Depth {
                at: self.position(start),
                limit: self.limits.depth,
            });
        }
        Ok(())
    }

    fn check_scalar(&self, id: Id) -> Result<(), Error> {
        Reader::new(self.text, &self.tree).check_scalar(id)
    }

    fn push(&mut self, node: Node) -> Id {
        let id = self.next_id();
        self.tree.nodes.push(node);
        id
    }

    fn next_id(&self) -> Id {
        Id(u32::try_from(self.tree.nodes.len()).unwrap_or(u32::MAX))
    }

    /// Ends a node that has nothing inside.
    fn seal(&mut self, id: Id) {
        let next = self.next_id();
        if let Some(node) = self
            .tree
            .nodes
            .get_mut(usize::try_from(id.0).unwrap_or(usize::MAX))
        {
            node.next = next;
        }
    }

    fn flag(&mut self, id: Id, flag: u8) {
        if let Some(node) = self
            .tree
            .nodes
            .get_mut(usize::try_from(id.0).unwrap_or(usize::MAX))
        {
            node.flags |= flag;
        }
    }

    fn set_tag(&mut self, id: Id, tag: Option<&granit_parser::Tag>, span: &Span) {
        let Some(tag) = tag else { return };
        let suffix = tag.suffix_in_namespace("tag:yaml.org,2002:");
        let kind = match suffix.as_deref() {
            Some("str") => TagKind::Str,
            Some("int") => TagKind::Int,
            Some("float") => TagKind::Float,
            Some("bool") => TagKind::Bool,
            Some("null") => TagKind::Null,
            Some("binary") => TagKind::Binary,
            Some("timestamp") => TagKind::Timestamp,
            Some("merge") => TagKind::Merge,
            _ => TagKind::Other,
        };
        let start = span
            .tag_start()
            .and_then(|m| m.byte_offset())
            .map_or(self.tree.node(id).start, |at| self.offset(at));
        self.tree.tags.push((id, Tag { kind, start }));
        self.flag(id, Node::TAGGED);
    }

    /// The parser names the anchor right behind the start of its node.
    fn place_anchor(&mut self, number: usize, span: &Span) {
        let (start, _) = self.offsets(span);
        let Some(anchored) = self.anchored_by(number) else {
            return;
        };
        let id = anchored.id;
        self.tree.anchors.push((id, Anchor { start, used: false }));
        self.flag(id, Node::ANCHORED);
    }

    /// Behind the `:` or `-` of an empty node and behind its anchor and tag; the parser may put it
    /// elsewhere.
    fn empty_place(&self, fallback: u32, properties: bool) -> u32 {
        let Some(parent) = self.open.last() else {
            return fallback;
        };
        let node = self.tree.node(parent.id);
        let from = match node.kind {
            Kind::Seq if self.next_id() == parent.id.first_child() => node.from(),
            _ => self.last,
        };
        let at = gap::skip(self.text, from);
        let behind = match gap::byte(self.text, at) {
            b'-' if node.kind == Kind::Seq => at + 1,
            b':' if node.kind.is_map() => at + 1,
            _ => from,
        };
        let place = if properties {
            gap::skip_properties(self.text, behind)
        } else {
            behind
        };
        u32::try_from(place).unwrap_or(fallback)
    }

    /// The `|` or `>` of a block scalar whose content starts at `content`.
    fn header(&self, content: u32) -> u32 {
        let mut at = self.last;
        loop {
            at = gap::skip(self.text, at);
            match gap::byte(self.text, at) {
                b'|' | b'>' => return u32::try_from(at).unwrap_or(content),
                b'&' | b'!' | b'.' => at = gap::token_end(self.text, at),
                b':' | b'-' | b'?' => at += 1,
                _ => return content,
            }
        }
    }

    /// The start of a line behind a block scalar; the parser may go on over the next line's
    /// indentation.
    fn scalar_end(&self, named: u32) -> u32 {
        let end = widen(named);
        let start = gap::line_start(self.text, end);
        let indentation = self.text.get(start..end).unwrap_or_default();
        match indentation.bytes().all(|b| b == b' ') {
            true => u32::try_from(start).unwrap_or(named),
            false => named,
        }
    }

    /// The first dash of a block sequence. The parser names it, but not where the dashes stand
    /// below the key of the sequence.
    fn first_dash(&self, named: u32) -> u32 {
        let in_mapping = self
            .open
            .last()
            .is_some_and(|open| self.tree.node(open.id).kind == Kind::Map);
        if !in_mapping {
            return named;
        }
        let colon = gap::skip(self.text, self.last);
        if gap::byte(self.text, colon) != b':' {
            return named;
        }
        let dash = gap::skip(self.text, gap::skip_properties(self.text, colon + 1));
        match gap::byte(self.text, dash) {
            b'-' => u32::try_from(dash).unwrap_or(named),
            _ => named,
        }
    }

    fn byte_at(&self, at: u32) -> Option<u8> {
        self.text.as_bytes().get(usize::try_from(at).ok()?).copied()
    }

    fn offsets(&self, span: &Span) -> (u32, u32) {
        let range = span.byte_range().unwrap_or(0..0);
        (self.offset(range.start), self.offset(range.end))
    }

    fn offset(&self, at: usize) -> u32 {
        u32::try_from(self.base.saturating_add(at)).unwrap_or(u32::MAX)
    }

    fn position(&self, at: u32) -> Position {
        Position::of(self.text, usize::try_from(at).unwrap_or(usize::MAX))
    }
}

fn widen(offset: u32) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
