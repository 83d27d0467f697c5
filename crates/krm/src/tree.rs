//! The arena: nodes in document order, sixteen bytes each, that point into the text.

/// A node of a [`Tree`], by position in document order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id(pub(crate) u32);

impl Id {
    /// The node of a document.
    pub(crate) const ROOT: Self = Self(0);

    /// The first node inside a collection.
    pub(crate) fn first_child(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// What a node is and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Nothing is written: `key:`, `-`.
    Empty,
    Plain,
    Single,
    Double,
    Literal,
    Folded,
    Map,
    Seq,
    FlowMap,
    FlowSeq,
    Alias,
}

impl Kind {
    pub(crate) fn is_map(self) -> bool {
        matches!(self, Self::Map | Self::FlowMap)
    }

    pub(crate) fn is_seq(self) -> bool {
        matches!(self, Self::Seq | Self::FlowSeq)
    }

    pub(crate) fn is_flow(self) -> bool {
        matches!(self, Self::FlowMap | Self::FlowSeq)
    }

    pub(crate) fn is_block_scalar(self) -> bool {
        matches!(self, Self::Literal | Self::Folded)
    }

    pub(crate) fn is_collection(self) -> bool {
        self.is_map() || self.is_seq()
    }
}

/// One node. Offsets are bytes in the text of the stream and exclude anchor and tag.
///
/// A block scalar starts at its `|` or `>` and ends at the start of a line (or of nothing), behind
/// blank lines that follow it. A block mapping starts at its first key, a block sequence at its
/// first dash, and both end with their last child. An empty node stands behind its `:` or `-`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// The first node that is not inside this one.
    pub(crate) next: Id,
    pub(crate) kind: Kind,
    /// Bits `TAGGED`, `ANCHORED`, `DECODED`.
    pub(crate) flags: u8,
}

impl Node {
    /// The node has an entry in [`Tree::tags`].
    pub(crate) const TAGGED: u8 = 1;
    /// The node has an entry in [`Tree::anchors`].
    pub(crate) const ANCHORED: u8 = 2;
    /// The text differs from what is written: it has an entry in [`Tree::decoded`].
    pub(crate) const DECODED: u8 = 4;

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn from(&self) -> usize {
        usize::try_from(self.start).unwrap_or(usize::MAX)
    }

    pub(crate) fn to(&self) -> usize {
        usize::try_from(self.end).unwrap_or(usize::MAX)
    }
}

/// What a tag does to its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TagKind {
    Str,
    Int,
    Float,
    Bool,
    Null,
    Binary,
    Timestamp,
    Merge,
    /// Application tags and `!`: the text as it stands.
    Other,
}

/// A tag as written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tag {
    pub(crate) kind: TagKind,
    pub(crate) start: u32,
}

/// An anchor as written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    pub(crate) start: u32,
    /// Whether an alias refers to it.
    pub(crate) used: bool,
}

/// The nodes of one document.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    /// Texts that differ from what is written, by node.
    pub(crate) decoded: Vec<(Id, Box<str>)>,
    pub(crate) tags: Vec<(Id, Tag)>,
    pub(crate) anchors: Vec<(Id, Anchor)>,
    /// Alias to anchored node.
    pub(crate) aliases: Vec<(Id, Id)>,
    /// Mappings with a merge key.
    pub(crate) merges: Vec<Id>,
}

/// Stands for a node that is not there; never reached while ids come from the tree itself.
const NOWHERE: Node = Node {
    start: 0,
    end: 0,
    next: Id(u32::MAX),
    kind: Kind::Empty,
    flags: 0,
};

impl Tree {
    /// A document without a value.
    pub(crate) fn empty(at: usize) -> Self {
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        let nodes = vec![Node {
            start: at,
            end: at,
            next: Id(1),
            kind: Kind::Empty,
            flags: 0,
        }];
        Self {
            nodes,
            ..Self::default()
        }
    }

    pub(crate) fn node(&self, id: Id) -> Node {
        self.nodes.get(id.index()).copied().unwrap_or(NOWHERE)
    }

    /// Direct children: items of a sequence; keys and values in turn of a mapping.
    pub(crate) fn children(&self, id: Id) -> Children<'_> {
        let node = self.node(id);
        let at = if node.kind.is_collection() {
            id.first_child()
        } else {
            node.next
        };
        Children {
            tree: self,
            at,
            end: node.next,
        }
    }

    /// Key and value of each entry of a mapping.
    pub(crate) fn entries(&self, id: Id) -> Entries<'_> {
        Entries(self.children(id))
    }

    /// Items of a sequence.
    pub(crate) fn items(&self, id: Id) -> Children<'_> {
        self.children(id)
    }

    /// The text of a scalar as YAML reads it, before any resolution.
    pub(crate) fn scalar<'a>(&'a self, text: &'a str, id: Id) -> &'a str {
        let node = self.node(id);
        if node.has(Node::DECODED) {
            return lookup(&self.decoded, id).map_or("", |s| s);
        }
        let inner = match node.kind {
            Kind::Single | Kind::Double => node.from() + 1..node.to().saturating_sub(1),
            Kind::Empty => return "",
            _ => node.from()..node.to(),
        };
        text.get(inner).unwrap_or_default()
    }

    pub(crate) fn tag(&self, id: Id) -> Option<Tag> {
        if !self.node(id).has(Node::TAGGED) {
            return None;
        }
        lookup(&self.tags, id).copied()
    }

    pub(crate) fn anchor(&self, id: Id) -> Option<Anchor> {
        if !self.node(id).has(Node::ANCHORED) {
            return None;
        }
        lookup(&self.anchors, id).copied()
    }

    /// The node behind an alias; the node itself otherwise.
    pub(crate) fn follow(&self, id: Id) -> Id {
        if self.node(id).kind == Kind::Alias {
            lookup(&self.aliases, id).copied().unwrap_or(id)
        } else {
            id
        }
    }

    /// Where the node begins with its anchor and tag.
    pub(crate) fn outer_start(&self, id: Id) -> usize {
        let node = self.node(id);
        let mut start = node.start;
        if let Some(tag) = self.tag(id) {
            start = start.min(tag.start);
        }
        if let Some(anchor) = self.anchor(id) {
            start = start.min(anchor.start);
        }
        usize::try_from(start).unwrap_or(usize::MAX)
    }

    pub(crate) fn has_merge(&self, id: Id) -> bool {
        !self.merges.is_empty() && self.merges.binary_search(&id).is_ok()
    }

    pub(crate) fn shrink(&mut self) {
        self.nodes.shrink_to_fit();
        self.decoded.shrink_to_fit();
    }
}

/// Finds the entry of a node in a table sorted by node.
fn lookup<T>(table: &[(Id, T)], id: Id) -> Option<&T> {
    let at = table.binary_search_by_key(&id, |(id, _)| *id).ok()?;
    table.get(at).map(|(_, entry)| entry)
}

/// See [`Tree::children`].
#[derive(Clone)]
pub(crate) struct Children<'a> {
    tree: &'a Tree,
    at: Id,
    end: Id,
}

impl Iterator for Children<'_> {
    type Item = Id;

    fn next(&mut self) -> Option<Id> {
        if self.at >= self.end {
            return None;
        }
        let id = self.at;
        self.at = self.tree.node(id).next;
        Some(id)
    }
}

/// See [`Tree::entries`].
#[derive(Clone)]
pub(crate) struct Entries<'a>(Children<'a>);

impl Iterator for Entries<'_> {
    type Item = (Id, Id);

    fn next(&mut self) -> Option<(Id, Id)> {
        Some((self.0.next()?, self.0.next()?))
    }
}
