//! Names without values.

use crate::path::Path;
use crate::stream::Document;

impl Document {
    /// The keys of the mapping at a path, in order; empty for what is no mapping. No value is read,
    /// so that the keys of a Secret can be listed without touching its data.
    pub fn keys(&self, at: &Path) -> Vec<String> {
        let reader = self.reader();
        let Some(id) = reader.at(at.steps()) else {
            return Vec::new();
        };
        let id = self.tree().follow(id);
        if !self.tree().node(id).kind.is_map() {
            return Vec::new();
        }
        let entries = self.tree().entries(id);
        entries
            .filter_map(|(key, _)| Some(reader.str(key)?.into_owned()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::{Path, Stream};

    #[test]
    fn keys_are_listed_in_order() {
        let stream = Stream::parse("data: {b: c2VjcmV0, a: 1}\nlist: []\n").unwrap();
        let document = &stream.documents()[0];
        assert_eq!(document.keys(&Path::root().key("data")), ["b", "a"]);
        assert!(document.keys(&Path::root().key("list")).is_empty());
        assert!(document.keys(&Path::root().key("none")).is_empty());
    }
}
