//! Lossless YAML streams and KRM ResourceLists: read as Kubernetes reads them, written back byte for byte but for the change.
//!
//! ```
//! use nacre_krm::{Path, Stream};
//! use serde_json::json;
//!
//! let text = "# ours\nkind: Pod\nmetadata: {name: 'web'} # short\n";
//! let stream = Stream::parse(text)?;
//! let pod = &stream.documents()[0];
//! let labels = Path::root().key("metadata").key("labels");
//! let edited = pod.rewrite(&[(labels, json!({"a": "yes"}))])?;
//! assert_eq!(edited, "# ours\nkind: Pod\nmetadata: {name: 'web', labels: {a: \"yes\"}} # short\n");
//! # Ok::<(), nacre_krm::Error>(())
//! ```
//!
//! Scalars mean what they mean to kubectl (sigs.k8s.io/yaml): `yes` is a boolean, `0755` is 493.
//! What two tools of a pipeline would read differently, such as a key set twice, is an error.
//!
//! It does not validate Kubernetes objects, does not render templates, and does not format text
//! that nobody asked to change.

mod emit;
mod error;
mod gap;
mod keys;
mod limits;
mod parse;
mod path;
mod read;
mod resource_list;
mod rewrite;
mod scalar;
mod split;
mod stream;
mod syntax;
mod tree;

pub use emit::emit;
pub use error::{Error, Position};
pub use limits::Limits;
pub use path::{Path, PathError, Step};
pub use resource_list::ResourceList;
pub use stream::{Document, ObjectRef, Stream};
