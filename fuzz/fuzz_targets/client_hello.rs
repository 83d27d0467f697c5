//! Any bytes as the first ones of a connection from a stranger.
#![no_main]

use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use nacre_mesh::config::Config;
use nacre_mesh::material::{CHAIN, Files, KEY, MESH_CA, Material};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384};
use rustls::ServerConfig;

#[allow(dead_code)]
#[path = "../exercise_mesh.rs"]
mod exercise;

fuzz_target!(|bytes: &[u8]| exercise::client_hello(server(), bytes));

/// The configuration that the mesh makes of a certificate.
fn server() -> &'static Arc<ServerConfig> {
    static SERVER: OnceLock<Arc<ServerConfig>> = OnceLock::new();
    SERVER.get_or_init(|| {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let params = CertificateParams::new(vec!["web".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let folder = std::env::temp_dir().join(format!("client-hello-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(CHAIN), &certificate).unwrap();
        std::fs::write(folder.join(MESH_CA), &certificate).unwrap();
        std::fs::write(folder.join(KEY), key.serialize_pem()).unwrap();
        let config = Config::read(&|_| None).unwrap();
        let files = Files::read(&[folder]).unwrap();
        let material = Material::new(files, &config, nacre_mesh::proxy::unix_now()).unwrap();
        Arc::clone(material.mutual(9090).unwrap())
    })
}
