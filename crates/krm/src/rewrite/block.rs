//! Splices in block style.

use serde_json::Value;

use crate::emit::{self, Emitter};
use crate::gap::{self, Line};
use crate::tree::{Id, Kind};

use super::plan::{Action, MapPlan, Place, Plan, SeqPlan, Slot, Stop};

/// New block text.
struct Fragment {
    text: String,
    /// It ends in a block scalar that needs a newline behind it.
    needs_newline: bool,
}

/// The first entries of a mapping behind a dash, about to go.
struct Pulled {
    from: usize,
    last: Id,
    /// What takes their place.
    new: Vec<Fragment>,
}

impl Plan<'_> {
    /// Behind the `:`, `-` or document marker of a slot.
    pub(crate) fn behind_indicator(&self, slot: &Slot) -> Result<usize, Stop> {
        match slot.place {
            Place::Root => Ok(self.value_start()),
            Place::Value { key, .. } => {
                let from = self.tree.node(key).to();
                let colon = gap::skip_blanks(self.text, from);
                // `? key` and its `:` on another line are too rare to be spliced.
                let outer = self.tree.outer_start(key);
                let before = self
                    .text
                    .get(gap::line_start(self.text, outer)..outer)
                    .unwrap_or_default();
                if gap::byte(self.text, colon) != b':' || before.trim_end().ends_with('?') {
                    return Err(Stop::Coarser);
                }
                Ok(colon + 1)
            }
            Place::Item { seq, previous } => {
                let dash = match previous {
                    None => self.tree.node(seq).from(),
                    Some(previous) => gap::skip(self.text, self.tree.node(previous).to()),
                };
                if gap::byte(self.text, dash) != b'-' {
                    return Err(Stop::Coarser);
                }
                Ok(dash + 1)
            }
        }
    }

    /// Where the value of the document may start: behind the marker, if there is one.
    fn value_start(&self) -> usize {
        let range = self.document.range();
        let mut at = range.start;
        while at < range.end {
            let line = self
                .text
                .get(at..gap::line_end(self.text, at))
                .unwrap_or_default();
            let line = line.trim_start_matches('\u{feff}');
            if line.starts_with("---") {
                return gap::line_end(self.text, at) - line.len() + 3;
            }
            let skippable = line.starts_with('%')
                || !matches!(gap::line(self.text, at), Line::Other)
                || line.is_empty();
            if !skippable {
                break;
            }
            at = gap::next_line(self.text, at);
        }
        range.start
    }

    /// The column of what holds a slot: of the key, or of the dash.
    fn column(&self, slot: &Slot) -> Result<usize, Stop> {
        match slot.place {
            Place::Root => Ok(0),
            Place::Value { map, .. } => Ok(self.map_column(map)),
            Place::Item { .. } => Ok(gap::column(self.text, self.behind_indicator(slot)? - 1)),
        }
    }

    fn map_column(&self, map: Id) -> usize {
        gap::column(self.text, self.tree.outer_start(map.first_child()))
    }

    /// Behind the last line of a node, its trailing comment, and comment lines further in than
    /// `column`, which belong to it.
    fn behind(&self, id: Id, column: usize) -> usize {
        let node = self.tree.node(id);
        let last = Id(node.next.0.saturating_sub(1));
        let mut at = if self.tree.node(last).kind.is_block_scalar() {
            self.behind_scalar(last)
        } else {
            gap::next_line(self.text, node.to())
        };
        let mut ahead = at;
        while ahead < self.end {
            match gap::line(self.text, ahead) {
                Line::Blank => {}
                Line::Comment(indent) if indent > column => {
                    at = gap::next_line(self.text, ahead).min(self.end)
                }
                _ => break,
            }
            ahead = gap::next_line(self.text, ahead);
        }
        at.min(self.end)
    }

    /// Behind the last line of a block scalar; blank lines that it does not keep stay outside.
    fn behind_scalar(&self, id: Id) -> usize {
        let node = self.tree.node(id);
        let header = gap::line_end(self.text, node.from());
        let indicators = self.text.get(node.from()..header).unwrap_or_default();
        let indicators = indicators.split([' ', '\t']).next().unwrap_or_default();
        if indicators.contains('+') {
            return node.to();
        }
        let first = gap::behind_break(self.text, header);
        let mut end = node.to().max(first);
        loop {
            let start = gap::line_start(self.text, gap::before_break(self.text, end));
            if end <= first || gap::line(self.text, start) != Line::Blank {
                return end;
            }
            end = start.max(first);
            if start <= first {
                return first;
            }
        }
    }

    /// Whole lines at the start of a line, or behind the end of a text without a final newline.
    fn insert_lines(&mut self, at: usize, column: usize, fragments: Vec<Fragment>) {
        let unfinished =
            at == self.end && at > 0 && !matches!(gap::byte(self.text, at - 1), b'\n' | b'\r');
        let indent = " ".repeat(column);
        let newline = self.newline;
        let mut text = String::new();
        for fragment in fragments {
            if unfinished {
                text.push_str(newline);
            }
            text.push_str(&indent);
            text.push_str(&fragment.text);
            if !unfinished {
                text.push_str(newline);
            } else if fragment.needs_newline {
                // The value ends with a newline that the text has to have.
                text.push_str(newline);
            }
        }
        self.splice(at, at, text);
    }

    fn fragment(&mut self, literals: bool, write: impl FnOnce(&mut Emitter<'_>)) -> Fragment {
        let layout = self.layout();
        let mut text = String::new();
        let mut emitter = Emitter::new(&mut text, layout, literals);
        write(&mut emitter);
        let needs_newline = emitter.ends_open;
        Fragment {
            text,
            needs_newline,
        }
    }

    pub(crate) fn block_map(&mut self, slot: &Slot, plan: MapPlan<'_>) -> Result<(), Stop> {
        let map = slot.id;
        let column = self.map_column(map);
        let structural = !plan.inserts.is_empty()
            || plan
                .entries
                .iter()
                .any(|(_, _, a)| matches!(a, Action::Remove));
        if structural {
            self.check_block_map(map)?;
        }
        let mut inserts = plan.inserts.into_iter().peekable();
        // Entries taken away behind a dash, whose line another one takes.
        let mut pulled: Option<Pulled> = None;
        for (i, (key, value, action)) in plan.entries.iter().enumerate() {
            let child = Slot {
                id: *value,
                place: Place::Value { map, key: *key },
            };
            if matches!(action, Action::Remove) {
                self.touch_all(*key, self.tree.node(*value).next);
                let outer = self.tree.outer_start(*key);
                if let Some(pulled) = &mut pulled {
                    pulled.last = *value;
                } else if gap::is_first(self.text, outer) {
                    let keep_comments = slot.place == Place::Root && i == 0;
                    let start = if keep_comments {
                        gap::line_start(self.text, outer)
                    } else {
                        self.with_comments(outer, i == 0)
                    };
                    let end = self.behind(*value, column);
                    self.splice(start, end, "");
                } else {
                    pulled = Some(Pulled {
                        from: outer,
                        last: *value,
                        new: Vec::new(),
                    });
                }
            } else {
                if let Some(pulled) = pulled.take() {
                    self.pull_up(slot, pulled, *key, column)?;
                }
                self.act(&child, *action)?;
            }
            let mut new = Vec::new();
            while let Some((_, key, value)) = inserts.next_if(|(behind, _, _)| *behind == i) {
                new.push(self.fragment(true, |e| e.entry(&key, &value, column)));
            }
            match &mut pulled {
                Some(pulled) => pulled.new.extend(new),
                None if new.is_empty() => {}
                None => {
                    let at = self.behind(*value, column);
                    self.insert_lines(at, column, new);
                }
            }
        }
        match pulled {
            None => Ok(()),
            Some(_) => Err(Stop::Coarser),
        }
    }

    /// Entries that can be moved: every key first on its line, but for the very first, with its
    /// colon on the same line.
    fn check_block_map(&self, map: Id) -> Result<(), Stop> {
        for (i, (key, value)) in self.tree.entries(map).enumerate() {
            let place = Place::Value { map, key };
            self.behind_indicator(&Slot { id: value, place })?;
            if i > 0 && !gap::is_first(self.text, self.tree.outer_start(key)) {
                return Err(Stop::Coarser);
            }
        }
        Ok(())
    }

    /// Removes the first entries of a mapping that starts behind a dash; new ones or the next key
    /// move up.
    fn pull_up(&mut self, slot: &Slot, pulled: Pulled, key: Id, column: usize) -> Result<(), Stop> {
        let outer = self.tree.outer_start(key);
        let behind = self.behind(pulled.last, column);
        let commented = behind < gap::line_start(self.text, outer);
        let indent = format!("{}{}", self.newline, " ".repeat(column));
        let new: Vec<String> = pulled.new.into_iter().map(|f| f.text).collect();
        let mut text = new.join(&indent);
        if !commented {
            if !text.is_empty() {
                text.push_str(&indent);
            }
            self.splice(pulled.from, outer, text);
            return Ok(());
        }
        // Comments on the next entry stay with it.
        let from = if !text.is_empty() {
            pulled.from
        } else if self.has_properties(slot.id) || !matches!(slot.place, Place::Item { .. }) {
            return Err(Stop::Coarser);
        } else {
            self.behind_indicator(slot)?
        };
        self.splice(from, gap::before_break(self.text, behind), text);
        Ok(())
    }

    /// The start of the line of an offset, with the comment lines right above it.
    fn with_comments(&self, at: usize, first: bool) -> usize {
        let column = gap::column(self.text, at);
        let mut start = gap::line_start(self.text, at);
        while start > self.document.range().start {
            let above = gap::line_start(self.text, gap::before_break(self.text, start));
            match gap::line(self.text, above) {
                Line::Comment(indent) if indent == column || (first && indent >= column) => {
                    start = above
                }
                _ => break,
            }
        }
        start
    }

    pub(crate) fn block_seq(&mut self, slot: &Slot, plan: SeqPlan<'_>) -> Result<(), Stop> {
        let seq = slot.id;
        let first_dash = self.tree.node(seq).from();
        let column = gap::column(self.text, first_dash);
        let mut inserts = plan.inserts.into_iter().peekable();
        let mut previous = None;
        let count = plan.items.len();
        let inline = !gap::is_first(self.text, first_dash);
        let gone = plan
            .items
            .iter()
            .take_while(|(_, action)| matches!(action, Action::Remove))
            .count();
        for i in 0..=count {
            let item = plan.items.get(i);
            let mut new = Vec::new();
            while let Some((_, value)) = inserts.next_if(|(before, _)| *before == i) {
                new.push(self.fragment(true, |e| {
                    e.out.push('-');
                    e.under_dash(&value, column);
                }));
            }
            if !new.is_empty() {
                match previous {
                    Some(previous) if !inline || i > gone => {
                        let at = self.behind(previous, column);
                        self.insert_lines(at, column, new);
                    }
                    _ => self.insert_head(slot, first_dash, column, new)?,
                }
            }
            let Some((id, action)) = item else { break };
            let child = Slot {
                id: *id,
                place: Place::Item { seq, previous },
            };
            if !matches!(action, Action::Remove) {
                if inline && i == gone && i > 0 {
                    // It moves up behind the other dash.
                    let dash = self.behind_indicator(&child)? - 1;
                    self.splice(first_dash, dash, "");
                }
                self.act(&child, *action)?;
            } else {
                self.touch_all(*id, self.tree.node(*id).next);
                if !inline || i >= gone {
                    self.remove_item(slot, &child, i, column)?;
                }
            }
            previous = Some(*id);
        }
        Ok(())
    }

    /// New items before the first: before the comments that describe it.
    fn insert_head(
        &mut self,
        slot: &Slot,
        dash: usize,
        column: usize,
        new: Vec<Fragment>,
    ) -> Result<(), Stop> {
        if !gap::is_first(self.text, dash) {
            let indent = " ".repeat(column);
            let mut text = String::new();
            for fragment in new {
                text.push_str(&fragment.text);
                text.push_str(self.newline);
                text.push_str(&indent);
            }
            self.splice(dash, dash, text);
            return Ok(());
        }
        let at = match slot.place {
            Place::Root => gap::line_start(self.text, dash),
            _ => {
                let from = self.behind_indicator(slot)?;
                let from = if self.has_properties(slot.id) {
                    gap::skip_properties(self.text, from)
                } else {
                    from
                };
                gap::next_line(self.text, from).min(gap::line_start(self.text, dash))
            }
        };
        self.insert_lines(at, column, new);
        Ok(())
    }

    fn remove_item(
        &mut self,
        slot: &Slot,
        child: &Slot,
        index: usize,
        column: usize,
    ) -> Result<(), Stop> {
        let dash = self.behind_indicator(child)? - 1;
        if !gap::is_first(self.text, dash) {
            return Err(Stop::Coarser);
        }
        let keep_comments = slot.place == Place::Root && index == 0;
        let start = if keep_comments {
            gap::line_start(self.text, dash)
        } else {
            self.with_comments(dash, index == 0)
        };
        let end = self.behind(child.id, column);
        self.splice(start, end, "");
        Ok(())
    }

    /// Another value in the place of a node.
    pub(crate) fn replace(&mut self, slot: &Slot, value: &Value) -> Result<(), Stop> {
        self.touch_all(slot.id, self.tree.node(slot.id).next);
        if self.container_kind(slot).is_some_and(Kind::is_flow) || self.stays_flow(slot) {
            return self.replace_flow(slot, value);
        }
        let id = slot.id;
        let node = self.tree.node(id);
        let from = self.behind_indicator(slot)?;
        let outer = self.tree.outer_start(id).max(from);
        let inline = gap::line_end(self.text, from) >= outer;
        if let Some(text) = self.in_its_quotes(id, value)
            && !self.has_properties(id)
        {
            self.splice(node.from(), node.to(), text);
            return Ok(());
        }
        let column = self.column(slot)?;
        let literals = !self.comment_follows(id, column);
        let fragment = self.fragment(literals, |e| match slot.place {
            Place::Value { .. } => e.under_key(value, column),
            Place::Item { .. } => e.under_dash(value, column),
            Place::Root => e.under_marker(value),
        });
        let split = fragment
            .text
            .find(['\n', '\r'])
            .unwrap_or(fragment.text.len());
        let (first, rest) = fragment.text.split_at(split);
        if slot.place == Place::Root {
            return self.replace_root(from, &fragment.text, fragment.needs_newline);
        }
        if node.kind.is_block_scalar() {
            let header_end =
                gap::token_end(self.text, node.from()).min(gap::line_end(self.text, node.from()));
            let header_line = gap::line_end(self.text, node.from());
            let content_end = gap::before_break(self.text, self.behind_scalar(id)).max(header_line);
            if !inline {
                return Err(Stop::Coarser);
            }
            self.splice(from, header_end, first);
            self.splice_rest(header_line, content_end, rest, fragment.needs_newline);
            return Ok(());
        }
        let starts_below = !inline;
        if starts_below && !node.kind.is_collection() && rest.is_empty() {
            self.splice(outer, node.to(), first.trim_start());
            return Ok(());
        }
        if starts_below {
            let line = gap::line_end(self.text, from);
            let properties = if self.has_properties(id) {
                gap::skip_properties(self.text, from).min(line)
            } else {
                from
            };
            let last = gap::before_break(self.text, self.behind(id, column).min(self.end));
            let last = last.max(line);
            self.splice(from, properties, first);
            self.splice_rest(line, last, rest, fragment.needs_newline);
            return Ok(());
        }
        let end = node.to();
        if node.kind.is_collection() && !node.kind.is_flow() {
            // A collection behind its dash: its last line goes with it.
            let last = gap::before_break(self.text, self.behind(id, column)).max(from);
            self.splice(from, last, first);
            self.splice_rest(last, last, rest, fragment.needs_newline);
            return Ok(());
        }
        self.splice(from, end.max(from), first);
        let line = gap::line_end(self.text, end);
        self.splice_rest(line, line, rest, fragment.needs_newline);
        Ok(())
    }

    fn splice_rest(&mut self, from: usize, to: usize, rest: &str, needs_newline: bool) {
        let mut text = rest.to_owned();
        if to >= self.end && needs_newline {
            text.push_str(self.newline);
        }
        self.splice(from, to.min(self.end), text);
    }

    /// A comment line that a block scalar in this place would swallow.
    fn comment_follows(&self, id: Id, column: usize) -> bool {
        let mut at = gap::next_line(self.text, self.tree.node(id).to());
        if self.tree.node(id).kind.is_block_scalar() {
            at = self.behind_scalar(id);
        }
        while at < self.end {
            match gap::line(self.text, at) {
                Line::Blank => at = gap::next_line(self.text, at),
                Line::Comment(indent) => return indent > column,
                Line::Other => return false,
            }
        }
        false
    }

    /// A string in the quotes that the old scalar has.
    fn in_its_quotes(&self, id: Id, value: &Value) -> Option<String> {
        let Value::String(text) = value else {
            return None;
        };
        match self.tree.node(id).kind {
            Kind::Double => Some(emit::double_quoted(text)),
            Kind::Single => emit::single_quoted(text),
            _ => None,
        }
    }

    /// Whether a value of the document stays in braces because it is JSON.
    fn stays_flow(&self, slot: &Slot) -> bool {
        slot.place == Place::Root && super::layout::is_json(self.tree)
    }

    fn replace_root(
        &mut self,
        from: usize,
        fragment: &str,
        needs_newline: bool,
    ) -> Result<(), Stop> {
        let node = self.tree.node(Id::ROOT);
        let outer = self.tree.outer_start(Id::ROOT);
        if node.kind == Kind::Empty {
            return Err(Stop::Coarser);
        }
        let end = if node.kind.is_block_scalar() {
            return Err(Stop::Coarser);
        } else if node.kind.is_flow() || !node.kind.is_collection() {
            node.to()
        } else {
            gap::before_break(self.text, self.behind(Id::ROOT, 0))
        };
        let marker_line = gap::line_start(self.text, from) == gap::line_start(self.text, outer)
            && from > self.document.range().start;
        let mut text = String::new();
        if marker_line && (fragment.contains(['\n', '\r']) || fragment.ends_with(':')) {
            text.push_str(self.newline);
        }
        text.push_str(fragment);
        if end >= self.end && needs_newline {
            text.push_str(self.newline);
        }
        let start = if node.kind.is_collection() && !node.kind.is_flow() {
            outer - gap::column(self.text, outer)
        } else {
            outer
        };
        self.splice(start, end, text);
        Ok(())
    }
}
