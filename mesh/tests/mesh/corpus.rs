//! The corpora of the fuzz targets, replayed.

use std::fs;
use std::path::Path;

use nacre_mesh::config::Config;
use nacre_mesh::material::{Files, Material};

use crate::support::Authority;

#[path = "../../../fuzz/exercise_mesh.rs"]
mod exercise;

fn replay(target: &str, exercise: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        exercise(&fs::read(entry.unwrap().path()).unwrap());
        files += 1;
    }
    assert!(files > 5, "{files} files");
}

#[test]
fn annotations() {
    replay("mesh_grammar", exercise::grammar);
}

#[test]
fn first_bytes_of_strangers() {
    let authority = Authority::new();
    let config = Config::read(&|_| None).unwrap();
    let files = Files::read(&[authority.issue("web")]).unwrap();
    let now = nacre_mesh::proxy::unix_now();
    let material = Material::new(files, &config, now).unwrap();
    let server = material.mutual(9090).unwrap();
    replay("client_hello", |bytes| {
        exercise::client_hello(server, bytes)
    });
}
