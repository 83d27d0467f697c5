//! Writes what is generated from the configuration and manifest types into `docs/`.
//!
//! Run in the root of the repository: `cargo run -p nacre-fnconfig --example generate`.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    for (file, text) in nacre_fnconfig::generated_files() {
        let path = Path::new(file);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}
