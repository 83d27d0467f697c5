//! Objects that have ConfigMaps of their own.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::requests::{data, map};
use super::{ConfigMaps, PART, PREFIX};
use crate::error::StoreError;
use crate::key::StoreKey;
use crate::{MAX_OBJECT, Object, Put, check_size};

const PARTS: &str = "nacre.dev/parts";
const BYTES: &str = "nacre.dev/bytes";
/// Number of parts of an object that is being written anew.
const UNFINISHED: usize = 0;

impl ConfigMaps {
    pub(super) async fn read_own(&self, key: &StoreKey) -> Result<Option<Vec<u8>>, StoreError> {
        let name = object_name(key);
        let Some(first) = self.get(&name).await? else {
            return Ok(None);
        };
        let damaged = |what| StoreError::Damaged {
            object: key.to_string(),
            what,
        };
        let number = |annotation: &str| {
            let text = first.metadata.annotations.as_ref()?.get(annotation)?;
            text.parse::<usize>().ok()
        };
        let (parts, size) = number(PARTS)
            .zip(number(BYTES))
            .ok_or_else(|| damaged("its annotations do not say how much there is"))?;
        if parts == UNFINISHED {
            return Ok(None);
        }
        if size > MAX_OBJECT || parts > MAX_OBJECT / PART + 1 {
            return Err(StoreError::TooLarge {
                bytes: size,
                limit: MAX_OBJECT,
            });
        }
        let mut bytes = data(first).ok_or_else(|| damaged("it has no data"))?;
        for part in 1..parts {
            let map = self.get(&part_name(&name, part)).await?;
            let more = map
                .and_then(data)
                .ok_or_else(|| damaged("a part is missing"))?;
            bytes.extend_from_slice(&more);
        }
        if bytes.len() != size {
            return Err(damaged("it has another length than it says"));
        }
        Ok(Some(bytes))
    }

    /// The further parts of an object, and its first ConfigMap, which is for the caller to write.
    async fn write_parts(&self, name: &str, bytes: &[u8]) -> Result<ConfigMap, StoreError> {
        let (head, rest) = bytes.split_at(bytes.len().min(PART));
        let mut parts = 1;
        for chunk in rest.chunks(PART) {
            self.write(map(part_name(name, parts), chunk)).await?;
            parts += 1;
        }
        Ok(first(name, head, parts, bytes.len()))
    }

    /// What a [`Put`] of this object finds.
    async fn compare_own(&self, object: &Object) -> Result<Option<Put>, StoreError> {
        let mut ends = self.compare(&[object]).await?;
        Ok(ends.pop().flatten())
    }

    pub(super) async fn put_own(&self, object: &Object) -> Result<Put, StoreError> {
        let Object { key, bytes } = object;
        // Parts of an object that is there must not be touched.
        if bytes.len() > PART
            && let Some(end) = self.compare_own(object).await?
        {
            return Ok(end);
        }
        let name = object_name(key);
        let first = self.write_parts(&name, bytes).await?;
        if self.create(&first).await?.is_some() {
            return Ok(Put::Stored);
        }
        if let Some(end) = self.compare_own(object).await? {
            return Ok(end);
        }
        // Somebody began to write it anew and may have stopped halfway.
        self.replace_own(key, bytes).await?;
        Ok(Put::Stored)
    }

    pub(super) async fn replace_own(&self, key: &StoreKey, bytes: &[u8]) -> Result<(), StoreError> {
        check_size(bytes)?;
        let name = object_name(key);
        if bytes.len() > PART {
            // The object is away while its parts change: never a mixture of two.
            self.write(first(&name, &[], UNFINISHED, 0)).await?;
        }
        let first = self.write_parts(&name, bytes).await?;
        self.write(first).await
    }
}

pub(super) fn object_name(key: &StoreKey) -> String {
    format!("{PREFIX}-{}-{}", key.kind(), key.hash())
}

fn part_name(name: &str, part: usize) -> String {
    format!("{name}.{part}")
}

/// The ConfigMap that says that an object is there.
fn first(name: &str, head: &[u8], parts: usize, size: usize) -> ConfigMap {
    let mut first = map(name.to_owned(), head);
    first.metadata.annotations = Some(BTreeMap::from([
        (PARTS.to_owned(), parts.to_string()),
        (BYTES.to_owned(), size.to_string()),
    ]));
    first
}
