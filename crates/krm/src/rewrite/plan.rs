//! Walking a document next to what is wanted of it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::emit::Layout;
use crate::path::Step;
use crate::read::{Reader, same};
use crate::stream::Document;
use crate::tree::{Id, Kind, Node, Tree};

use super::align::{self, Identity};
use super::layout;
use super::splice::{self, Splice};
use super::{Want, newline, open_tail};

/// Why planning ended without splices.
pub(crate) enum Stop {
    /// The text is written in a way that splices of this grain cannot follow.
    Coarser,
}

/// The splices of one document, in the making.
pub(crate) struct Plan<'d> {
    pub(crate) document: &'d Document,
    pub(crate) text: &'d str,
    pub(crate) tree: &'d Tree,
    pub(crate) reader: Reader<'d>,
    pub(crate) newline: &'static str,
    /// Where the document ends in the text.
    pub(crate) end: usize,
    pub(crate) splices: Vec<Splice>,
    /// Anchored nodes that change; whoever refers to them gets a copy.
    pub(crate) changed: BTreeSet<Id>,
    /// Anchored nodes with users in which this plan changes something.
    pub(crate) touched: BTreeSet<Id>,
    /// Replace the node of each edit as a whole.
    coarse: bool,
    scope: Id,
    layout: Option<Layout>,
    tail_open: bool,
}

/// A node and how one gets there.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) id: Id,
    pub(crate) place: Place,
}

/// What stands before a node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Root,
    /// The value of a key.
    Value {
        map: Id,
        key: Id,
    },
    /// An item of a list, behind the item before it.
    Item {
        seq: Id,
        previous: Option<Id>,
    },
}

/// What becomes of a child.
#[derive(Clone, Copy)]
pub(crate) enum Action<'v> {
    Keep,
    Value(&'v Value),
    Want(&'v Want),
    Remove,
}

/// What becomes of a mapping.
pub(crate) struct MapPlan<'v> {
    pub(crate) entries: Vec<(Id, Id, Action<'v>)>,
    /// New entries, each behind an entry; sorted by it.
    pub(crate) inserts: Vec<(usize, Cow<'v, str>, Cow<'v, Value>)>,
}

/// What becomes of a list.
pub(crate) struct SeqPlan<'v> {
    pub(crate) items: Vec<(Id, Action<'v>)>,
    /// New items, each before an item or at the end; sorted by it.
    pub(crate) inserts: Vec<(usize, Cow<'v, Value>)>,
}

impl<'d> Plan<'d> {
    pub(crate) fn new(document: &'d Document, changed: BTreeSet<Id>, coarse: bool) -> Self {
        let tree = document.tree();
        let end = document.range().end;
        Self {
            document,
            text: document.source().get(..end).unwrap_or_default(),
            tree,
            reader: document.reader(),
            newline: newline(document.text()),
            end,
            splices: Vec::new(),
            changed,
            touched: BTreeSet::new(),
            coarse,
            scope: Id::ROOT,
            layout: None,
            tail_open: open_tail(document.source(), tree, end).is_some(),
        }
    }

    /// Plans the splices for a change whose steps [fit](super::targets::check).
    pub(crate) fn run(&mut self, want: &Want) -> Result<(), Stop> {
        let root = Slot {
            id: Id::ROOT,
            place: Place::Root,
        };
        self.walk(&root, want)
    }

    /// The text after the splices; borrowed when there are none. `None`: they overlap.
    pub(crate) fn finish(mut self) -> Option<Cow<'d, str>> {
        if self.splices.is_empty() {
            return Some(Cow::Borrowed(self.document.text()));
        }

        splice::apply(self.text, self.document.range(), &mut self.splices).map(Cow::Owned)
    }

    pub(crate) fn splice(&mut self, from: usize, to: usize, text: impl Into<String>) {
        let text = text.into();
        if from == to && text.is_empty() {
            return;
        }
        if from == self.end && self.tail_open {
            self.tail_open = false;
            if let Some((at, chomp)) = open_tail(self.text, self.tree, self.end) {
                self.splices.push(Splice {
                    range: at,
                    text: chomp.to_owned(),
                });
            }
        }
        self.splices.push(Splice {
            range: from..to,
            text,
        });
    }

    /// The layout for new text at the current place.
    pub(crate) fn layout(&mut self) -> Layout {
        let (document, scope, newline) = (self.document, self.scope, self.newline);
        *self
            .layout
            .get_or_insert_with(|| layout::layout(document, scope, newline))
    }

    fn walk(&mut self, slot: &Slot, want: &Want) -> Result<(), Stop> {
        match want {
            Want::Value(value) => {
                let scope = slot.id;
                if self.scope != scope {
                    self.scope = scope;
                    self.layout = None;
                }
                if self.coarse && !self.reader.eq(slot.id, value) {
                    return self.replace(slot, value);
                }
                self.value(slot, value)
            }
            Want::Inside(inside) => self.inside(slot, want, inside),
            Want::Absent => Err(Stop::Coarser),
        }
    }

    /// Makes a child what its action says, unless it goes.
    pub(crate) fn act(&mut self, slot: &Slot, action: Action<'_>) -> Result<(), Stop> {
        match action {
            Action::Keep | Action::Remove => Ok(()),
            Action::Value(value) => self.value(slot, value),
            Action::Want(want) => self.walk(slot, want),
        }
    }

    /// Makes a node read as a value.
    fn value(&mut self, slot: &Slot, value: &Value) -> Result<(), Stop> {
        let id = slot.id;
        let node = self.tree.node(id);
        if node.kind == Kind::Alias {
            let target = self.tree.follow(id);
            if self.changed.contains(&target) || !self.reader.eq(target, value) {
                return self.replace(slot, value);
            }
            return Ok(());
        }
        let before = self.splices.len();
        match value {
            Value::Object(map)
                if node.kind.is_map() && id.first_child() < node.next && !map.is_empty() =>
            {
                self.map(slot, value, map)?;
            }
            Value::Array(items)
                if node.kind.is_seq() && id.first_child() < node.next && !items.is_empty() =>
            {
                self.seq(slot, value, items)?;
            }
            _ => {
                if !self.reader.eq(id, value) {
                    self.replace(slot, value)?;
                }
            }
        }
        if self.splices.len() > before {
            self.touch(id);
        }
        Ok(())
    }

    /// Notes that the text of an anchored node changes.
    fn touch(&mut self, id: Id) {
        if self.tree.anchor(id).is_some_and(|anchor| anchor.used) {
            self.touched.insert(id);
        }
    }

    /// Notes that nodes go away, with the anchors among them.
    pub(crate) fn touch_all(&mut self, from: Id, to: Id) {
        let anchors = &self.tree.anchors;
        let start = anchors.partition_point(|(id, _)| *id < from);
        let gone = anchors
            .iter()
            .skip(start)
            .take_while(|(id, _)| *id < to)
            .filter(|(_, anchor)| anchor.used);
        self.touched.extend(gone.map(|(id, _)| *id));
    }

    fn map(&mut self, slot: &Slot, value: &Value, wanted: &Map<String, Value>) -> Result<(), Stop> {
        let mut entries = Vec::new();
        let merge = self.reader.merge_value(slot.id);
        let mut merged = Map::new();
        if let Some(merge) = merge {
            self.reader.merge_into(merge, &mut merged);
        }
        let keeps_merge =
            merge.is_some_and(|merge| self.keeps_merge(slot.id, merge, &merged, wanted));
        let mut next = wanted.iter();
        let mut found = 0;
        for (key, child) in self.tree.entries(slot.id) {
            if merge == Some(child) && self.reader.is_merge(key) {
                entries.push((
                    key,
                    child,
                    if keeps_merge {
                        Action::Keep
                    } else {
                        Action::Remove
                    },
                ));
                continue;
            }
            if self.tree.node(key).kind == Kind::Alias
                && self.changed.contains(&self.tree.follow(key))
            {
                return self.replace(slot, value);
            }
            let name = self.reader.key(key).unwrap_or_default();
            // Wanted entries mostly come in the order of the text.
            let wanted = match next.next() {
                Some((wanted_key, wanted_value)) if *wanted_key == *name => Some(wanted_value),
                _ => wanted.get(name.as_ref()),
            };
            found += usize::from(wanted.is_some());
            entries.push((key, child, wanted.map_or(Action::Remove, Action::Value)));
        }
        if found == 0 && !keeps_merge {
            return self.replace(slot, value);
        }
        let mut inserts = Vec::new();
        if found < wanted.len() {
            self.new_entries(
                slot.id,
                &entries,
                keeps_merge.then_some(&merged),
                wanted,
                &mut inserts,
            );
        }
        self.apply_map(slot, MapPlan { entries, inserts })
    }

    /// The wanted entries that are not in the mapping, each behind its neighbour in the wanted
    /// order, or at the end.
    fn new_entries<'v>(
        &self,
        map: Id,
        entries: &[(Id, Id, Action<'v>)],
        merged: Option<&Map<String, Value>>,
        wanted: &'v Map<String, Value>,
        inserts: &mut Vec<(usize, Cow<'v, str>, Cow<'v, Value>)>,
    ) {
        let names: BTreeMap<Cow<'_, str>, usize> = entries
            .iter()
            .enumerate()
            .filter(|(_, (key, _, _))| !(self.tree.has_merge(map) && self.reader.is_merge(*key)))
            .filter_map(|(i, (key, _, _))| Some((self.reader.key(*key)?, i)))
            .collect();
        let last = entries.len().saturating_sub(1);
        // Where a merge is written out, its keys take its place.
        let place = entries.iter().position(|(key, _, action)| {
            matches!(action, Action::Remove) && self.reader.is_merge(*key)
        });
        let mut behind = place.filter(|_| self.tree.has_merge(map));
        for (key, value) in wanted {
            if let Some(i) = names.get(key.as_str()) {
                behind = Some(*i);
            } else if merged.is_none_or(|merged| !merged.contains_key(key)) {
                inserts.push((
                    behind.unwrap_or(last),
                    Cow::Borrowed(key.as_str()),
                    Cow::Borrowed(value),
                ));
            }
        }
        inserts.sort_by_key(|(behind, _, _)| *behind);
    }

    /// Whether a merge key still gives what is wanted and nothing else.
    fn keeps_merge(
        &self,
        map: Id,
        merge: Id,
        merged: &Map<String, Value>,
        wanted: &Map<String, Value>,
    ) -> bool {
        let end = self.tree.node(merge).next;
        let mut id = merge;
        while id < end {
            if self.tree.node(id).kind == Kind::Alias
                && self.changed.contains(&self.tree.follow(id))
            {
                return false;
            }
            id = Id(id.0.saturating_add(1));
        }
        let own: BTreeSet<Cow<'_, str>> = self
            .tree
            .entries(map)
            .filter(|(key, _)| !self.reader.is_merge(*key))
            .filter_map(|(key, _)| self.reader.key(key))
            .collect();
        merged.iter().all(|(key, value)| {
            own.contains(key.as_str()) || wanted.get(key).is_some_and(|wanted| same(wanted, value))
        })
    }

    fn seq(&mut self, slot: &Slot, value: &Value, wanted: &[Value]) -> Result<(), Stop> {
        let items: Vec<Id> = self.tree.items(slot.id).collect();
        let equal = |i: usize, j: usize| match (items.get(i), wanted.get(j)) {
            (Some(id), Some(value)) => self.reader.eq(*id, value),
            _ => false,
        };
        // Alias users of changed anchors look equal here and still have to be visited.
        if items.len() == wanted.len()
            && self.changed.is_empty()
            && (0..items.len()).all(|i| equal(i, i))
        {
            return Ok(());
        }
        let old: Vec<Identity> = items.iter().map(|id| self.identity(*id)).collect();
        let new: Vec<Identity> = wanted.iter().map(Identity::of).collect();
        let matched = align::align(&old, &new, &equal);
        if matched.iter().all(Option::is_none) {
            return self.replace(slot, value);
        }
        let mut inserts = Vec::new();
        let mut next = 0;
        let mut plan = Vec::with_capacity(items.len());
        for (i, (id, target)) in items.iter().zip(&matched).enumerate() {
            let Some(j) = target else {
                plan.push((*id, Action::Remove));
                continue;
            };
            for value in wanted.get(next..*j).unwrap_or_default() {
                inserts.push((i, Cow::Borrowed(value)));
            }
            next = j + 1;
            plan.push((*id, wanted.get(*j).map_or(Action::Keep, Action::Value)));
        }
        for value in wanted.get(next..).unwrap_or_default() {
            inserts.push((items.len(), Cow::Borrowed(value)));
        }
        self.apply_seq(
            slot,
            SeqPlan {
                items: plan,
                inserts,
            },
        )
    }

    fn identity(&self, id: Id) -> Identity {
        let target = self.tree.follow(id);
        let kind = self.tree.node(target).kind;
        if !kind.is_map() {
            return if kind.is_seq() {
                Identity::None
            } else {
                Identity::of(&self.reader.value(target))
            };
        }
        // Only what an identity is made of.
        let mut shown = Map::new();
        for key in ["mountPath", "name", "kind", "key"] {
            if let Some(text) = self
                .reader
                .get(target, key)
                .and_then(|id| self.reader.str(id))
            {
                shown.insert(key.to_owned(), Value::String(text.into_owned()));
            }
        }
        if let Some(metadata) = self
            .reader
            .get(target, "metadata")
            .map(|id| self.tree.follow(id))
            && self.tree.node(metadata).kind.is_map()
        {
            let mut inner = Map::new();
            for key in ["name", "namespace"] {
                if let Some(text) = self
                    .reader
                    .get(metadata, key)
                    .and_then(|id| self.reader.str(id))
                {
                    inner.insert(key.to_owned(), Value::String(text.into_owned()));
                }
            }
            shown.insert("metadata".to_owned(), Value::Object(inner));
        }
        Identity::of(&Value::Object(shown))
    }

    fn inside(
        &mut self,
        slot: &Slot,
        want: &Want,
        inside: &BTreeMap<Step, Want>,
    ) -> Result<(), Stop> {
        let id = slot.id;
        let node = self.tree.node(id);
        if self.reader.value_is_null(id)
            || (node.kind.is_collection() && id.first_child() >= node.next)
        {
            let Some(value) = want.apply(None) else {
                return Err(Stop::Coarser);
            };
            if matches!((&value, node.kind), (Value::Object(map), kind) if map.is_empty() && kind.is_map())
                || (value.is_null() && !node.kind.is_collection())
            {
                return Ok(());
            }
            return self.replace(slot, &value);
        }
        if node.kind.is_map() {
            self.inside_map(slot, inside)
        } else {
            self.inside_seq(slot, inside)
        }
    }

    fn inside_map(&mut self, slot: &Slot, inside: &BTreeMap<Step, Want>) -> Result<(), Stop> {
        let mut entries = Vec::new();
        let mut found = BTreeSet::new();
        for (key, child) in self.tree.entries(slot.id) {
            let step = Step::Key(self.reader.key(key).unwrap_or_default().into_owned());
            let action = match inside.get(&step) {
                Some(Want::Absent) => Action::Remove,
                Some(want) => Action::Want(want),
                None => Action::Keep,
            };
            if !matches!(action, Action::Keep) {
                found.insert(step);
            }
            entries.push((key, child, action));
        }
        let last = entries.len().saturating_sub(1);
        let mut inserts = Vec::new();
        for (step, want) in inside.iter().filter(|(step, _)| !found.contains(*step)) {
            if let (Step::Key(key), Some(value)) = (step, want.apply(None)) {
                inserts.push((last, Cow::Borrowed(key.as_str()), Cow::Owned(value)));
            }
        }
        self.apply_map(slot, MapPlan { entries, inserts })
    }

    fn inside_seq(&mut self, slot: &Slot, inside: &BTreeMap<Step, Want>) -> Result<(), Stop> {
        let mut items = Vec::new();
        for (i, id) in self.tree.items(slot.id).enumerate() {
            items.push((
                id,
                inside
                    .get(&Step::Index(i))
                    .map_or(Action::Keep, Action::Want),
            ));
        }
        let mut inserts = Vec::new();
        let added = inside
            .iter()
            .filter(|(step, _)| matches!(step, Step::Index(i) if *i >= items.len()));
        for (_, want) in added {
            inserts.push((
                items.len(),
                Cow::Owned(want.apply(None).unwrap_or(Value::Null)),
            ));
        }
        self.apply_seq(slot, SeqPlan { items, inserts })
    }

    /// What a slot stands in, if that is block style.
    pub(crate) fn container_kind(&self, slot: &Slot) -> Option<Kind> {
        match slot.place {
            Place::Root => None,
            Place::Value { map, .. } => Some(self.tree.node(map).kind),
            Place::Item { seq, .. } => Some(self.tree.node(seq).kind),
        }
    }

    fn apply_map(&mut self, slot: &Slot, plan: MapPlan<'_>) -> Result<(), Stop> {
        let before = self.splices.len();
        match self.tree.node(slot.id).kind {
            Kind::FlowMap => self.flow_map(slot, plan)?,
            _ => self.block_map(slot, plan)?,
        }
        if self.splices.len() > before {
            self.touch(slot.id);
        }
        Ok(())
    }

    fn apply_seq(&mut self, slot: &Slot, plan: SeqPlan<'_>) -> Result<(), Stop> {
        match self.tree.node(slot.id).kind {
            Kind::FlowSeq => self.flow_seq(slot, plan),
            _ => self.block_seq(slot, plan),
        }
    }

    /// Whether a node has an anchor or a tag.
    pub(crate) fn has_properties(&self, id: Id) -> bool {
        let node = self.tree.node(id);
        node.has(Node::ANCHORED) || node.has(Node::TAGGED)
    }
}
