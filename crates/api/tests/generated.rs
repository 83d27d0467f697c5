//! The generated messages are those of the `.proto`. `NACRE_BLESS=1` writes them anew.

use std::fs;
use std::path::Path;

/// Messages whose `Debug` is written by hand, because they carry secrets.
const SECRET: [&str; 3] = [
    "nacre.v1.NewMeshCertResponse",
    "nacre.v1.PeerRecoverResponse",
    "nacre.v1.RecoverRequest",
];

#[test]
fn messages_are_those_of_the_proto() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    let files = protox::compile(["nacre/v1/coordinator.proto"], [here.join("proto")]).unwrap();
    tonic_prost_build::configure()
        .skip_debug(SECRET)
        // There is no way to connect but over attested TLS.
        .build_transport(false)
        .out_dir(out.path())
        .emit_rerun_if_changed(false)
        .compile_fds(files)
        .unwrap();
    let fresh = fs::read_to_string(out.path().join("nacre.v1.rs")).unwrap();
    let committed = here.join("src/v1.rs");
    if std::env::var_os("NACRE_BLESS").is_some() {
        fs::write(&committed, &fresh).unwrap();
    }
    assert!(
        fs::read_to_string(&committed).unwrap() == fresh,
        "src/v1.rs is not what the .proto gives: NACRE_BLESS=1 cargo test -p nacre-api"
    );
}
