//! Splices inside brackets and braces.

use serde_json::Value;

use crate::emit::{self, FlowStyle, Pretty};
use crate::gap;
use crate::tree::{Id, Kind};

use super::layout;
use super::plan::{Action, MapPlan, Place, Plan, SeqPlan, Slot, Stop};

impl Plan<'_> {
    pub(crate) fn flow_map(&mut self, slot: &Slot, plan: MapPlan<'_>) -> Result<(), Stop> {
        let map = slot.id;
        let structural = !plan.inserts.is_empty()
            || plan
                .entries
                .iter()
                .any(|(_, _, a)| matches!(a, Action::Remove));
        if structural {
            self.check_flow(map, plan.entries.iter().map(|(key, _, _)| *key))?;
        }
        let spans: Vec<(usize, usize)> = plan
            .entries
            .iter()
            .map(|(key, value, _)| (self.tree.outer_start(*key), self.tree.node(*value).to()))
            .collect();
        let removed: Vec<bool> = plan
            .entries
            .iter()
            .map(|(_, _, a)| matches!(a, Action::Remove))
            .collect();
        let style = layout::flow_style(self.text, self.tree, map);
        let mut inserts = plan.inserts.into_iter().peekable();
        for (i, (key, value, action)) in plan.entries.iter().enumerate() {
            let place = Place::Value { map, key: *key };
            let child = Slot { id: *value, place };
            if matches!(action, Action::Remove) {
                self.touch_all(*key, self.tree.node(*value).next);
                self.remove_flow(&spans, &removed, i)?;
            } else {
                self.act(&child, *action)?;
            }
            while let Some((_, name, new)) = inserts.next_if(|(behind, _, _)| *behind == i) {
                let Some(&(start, end)) = spans.get(i) else {
                    break;
                };
                let separator = self.separator(start, style);
                let pretty = self.pretty(start, style);
                let mut text = String::new();
                emit::flow_entry(&mut text, &name, &new, style, pretty);
                self.insert_flow(&spans, &removed, (i, end), &text, &separator)?;
            }
        }
        Ok(())
    }

    pub(crate) fn flow_seq(&mut self, slot: &Slot, plan: SeqPlan<'_>) -> Result<(), Stop> {
        let seq = slot.id;
        let spans: Vec<(usize, usize)> = plan
            .items
            .iter()
            .map(|(id, _)| (self.tree.outer_start(*id), self.tree.node(*id).to()))
            .collect();
        let removed: Vec<bool> = plan
            .items
            .iter()
            .map(|(_, a)| matches!(a, Action::Remove))
            .collect();
        if !plan.inserts.is_empty() || removed.contains(&true) {
            self.check_flow(seq, plan.items.iter().map(|(id, _)| *id))?;
        }
        let style = layout::flow_style(self.text, self.tree, seq);
        let mut previous = None;
        let mut inserts = plan.inserts.into_iter().peekable();
        for i in 0..=plan.items.len() {
            while let Some((_, value)) = inserts.next_if(|(before, _)| *before == i) {
                let at = spans.get(i.saturating_sub(1)).copied().unwrap_or_default();
                let pretty = self.pretty(at.0, style);
                let text = emit::flow(&value, style, pretty);
                let separator = self.separator(at.0, style);
                match i.checked_sub(1) {
                    Some(before) => {
                        self.insert_flow(&spans, &removed, (before, at.1), &text, &separator)?;
                    }
                    None => self.splice(at.0, at.0, format!("{text}{separator}")),
                }
            }
            let Some((id, action)) = plan.items.get(i) else {
                break;
            };
            let child = Slot {
                id: *id,
                place: Place::Item { seq, previous },
            };
            if matches!(action, Action::Remove) {
                self.touch_all(*id, self.tree.node(*id).next);
                self.remove_flow(&spans, &removed, i)?;
            } else {
                self.act(&child, *action)?;
            }
            previous = Some(*id);
        }
        Ok(())
    }

    /// Brackets that are there, and no `?`.
    fn check_flow(&self, id: Id, children: impl Iterator<Item = Id>) -> Result<(), Stop> {
        let open = gap::byte(self.text, self.tree.node(id).from());
        if !matches!(open, b'{' | b'[') {
            return Err(Stop::Coarser);
        }
        for child in children {
            let outer = self.tree.outer_start(child);
            let before = self
                .text
                .get(self.tree.node(id).from()..outer)
                .unwrap_or_default();
            if before.trim_end().ends_with('?') {
                return Err(Stop::Coarser);
            }
        }
        Ok(())
    }

    /// Puts a new entry behind an entry, which is given by its index and its end.
    fn insert_flow(
        &mut self,
        spans: &[(usize, usize)],
        removed: &[bool],
        (i, end): (usize, usize),
        text: &str,
        separator: &str,
    ) -> Result<(), Stop> {
        if kept_before(removed, i) {
            self.splice(end, end, format!("{separator}{text}"));
            return Ok(());
        }
        // Everything before is taken away with the commas behind it.
        let (next, _) = *spans.get(i + 1).ok_or(Stop::Coarser)?;
        self.splice(next, next, format!("{text}{separator}"));
        Ok(())
    }

    /// Takes an entry away with one comma.
    fn remove_flow(
        &mut self,
        spans: &[(usize, usize)],
        removed: &[bool],
        i: usize,
    ) -> Result<(), Stop> {
        let Some(&(start, end)) = spans.get(i) else {
            return Err(Stop::Coarser);
        };
        let next = spans.get(i + 1).map(|(start, _)| *start);
        if kept_before(removed, i) {
            // With the comma before it.
            let previous = i
                .checked_sub(1)
                .and_then(|i| spans.get(i))
                .map_or(start, |(_, end)| *end);
            self.splice(previous, end, "");
        } else {
            let next = next.ok_or(Stop::Coarser)?;
            self.splice(start, next, "");
        }
        Ok(())
    }

    /// What separates a new entry from its neighbour, which starts at `neighbour`.
    fn separator(&self, neighbour: usize, style: FlowStyle) -> String {
        let start = gap::line_start(self.text, neighbour);
        let before = self.text.get(start..neighbour).unwrap_or_default();
        if start > self.document.range().start && before.bytes().all(|b| matches!(b, b' ' | b'\t'))
        {
            format!(",{}{before}", self.newline)
        } else if style.spaced {
            ", ".to_owned()
        } else {
            ",".to_owned()
        }
    }

    /// How new collections are spread over lines: in JSON over many lines, as their neighbours
    /// are.
    fn pretty(&self, neighbour: usize, style: FlowStyle) -> Option<Pretty> {
        let root = self.tree.node(Id::ROOT);
        let lines = self.text.get(root.from()..root.to()).unwrap_or_default();
        if !style.json || !lines.contains('\n') {
            return None;
        }
        let line = gap::line_start(self.text, neighbour);
        let indent = gap::skip_blanks(self.text, line) - line;
        let first = Id::ROOT.first_child();
        let step = match gap::column(self.text, self.tree.outer_start(first)) {
            step @ 1..=8 => step,
            _ => 2,
        };
        Some(Pretty {
            indent,
            step,
            newline: self.newline,
        })
    }

    /// Another value in the place of a node inside brackets.
    pub(crate) fn replace_flow(&mut self, slot: &Slot, value: &Value) -> Result<(), Stop> {
        let id = slot.id;
        let node = self.tree.node(id);
        let container = match slot.place {
            Place::Root => Id::ROOT,
            Place::Value { map, .. } => map,
            Place::Item { seq, .. } => seq,
        };
        let style = layout::flow_style(self.text, self.tree, container);
        let quoted = match (node.kind, value) {
            (Kind::Double, Value::String(text)) => Some(emit::double_quoted(text)),
            (Kind::Single, Value::String(text)) if !style.json => emit::single_quoted(text),
            _ => None,
        };
        let text = match quoted {
            Some(text) => text,
            None => {
                let pretty = self.pretty(self.tree.outer_start(id), style);
                emit::flow(value, style, pretty)
            }
        };
        let outer = self.tree.outer_start(id);
        if node.kind != Kind::Empty {
            self.splice(outer, node.to(), text);
            return Ok(());
        }
        let Place::Value { key, .. } = slot.place else {
            return Err(Stop::Coarser);
        };
        let key_end = self.tree.node(key).to();
        let colon = gap::skip(self.text, key_end);
        if gap::byte(self.text, colon) == b':' && colon < node.to() {
            self.splice(colon + 1, node.to(), format!(" {text}"));
        } else {
            self.splice(key_end, key_end, format!(": {text}"));
        }
        Ok(())
    }
}

/// Whether an entry before this one stays.
fn kept_before(removed: &[bool], i: usize) -> bool {
    removed.iter().take(i + 1).any(|removed| !removed)
}
