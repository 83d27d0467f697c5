//! The files on the pod's volume.
//!
//! Each is written beside its name, gets its mode and then its name: a reader sees the old file or the new
//! one. The volume is guest memory, and what can reach it are the containers of this pod, which share one
//! policy and one certificate. So a secret is readable by the group of the volume where the pod has an
//! `fsGroup` (kubelet and agent give the directory that group and the set-group-id bit), and else by every
//! user of the pod: the initializer has no capability to give files away to a `runAsUser` it does not know.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nacre_pki::LeafKey;
use serde_json::json;
use zeroize::Zeroizing;

use crate::ask::Issued;

/// Leaf and intermediate, PEM.
pub(crate) const CHAIN: &str = "certChain.pem";
/// The leaf's key, PKCS#8 PEM.
pub(crate) const KEY: &str = "key.pem";
/// The mesh CA, PEM: trusts the workloads of this manifest.
pub(crate) const MESH_CA: &str = "mesh-ca.pem";
/// The root CA, PEM: trusts those of every manifest to come.
pub(crate) const ROOT_CA: &str = "coordinator-root-ca.pem";
/// The mesh CA before, PEM; for the mesh, while the manifest allows it.
pub(crate) const PREVIOUS_CA: &str = "mesh-ca-previous.pem";
/// Whose leaves under the mesh CA before still count: `{"generation": n, "policies": [hex]}`, n being the
/// generation in force.
pub(crate) const PREVIOUS_ALLOWED: &str = "mesh-previous-allowed.json";
/// The workload's secret, 64 hex digits; where the manifest gives one.
pub(crate) const SECRET: &str = "workload-secret-seed";
/// The start gate.
pub(crate) const GATE: &str = "nacre-gate";

const PUBLIC: u32 = 0o444;
const PROGRAM: u32 = 0o555;
const SET_GROUP: u32 = 0o2000;

/// The directory the files go to.
#[derive(Clone, Debug)]
pub struct Volume {
    path: PathBuf,
    secret_mode: u32,
}

impl Volume {
    /// Opens the directory, or makes it.
    pub fn open(path: &Path) -> Result<Self, VolumeError> {
        fs::create_dir_all(path).map_err(failed(path))?;
        let data = fs::metadata(path).map_err(failed(path))?;
        let secret_mode = match data.mode() & SET_GROUP {
            0 if rustix::process::geteuid().is_root() => 0o444,
            // Started by a user for the user's own programs: not in a pod.
            0 => 0o400,
            _ => 0o440,
        };
        Ok(Self {
            path: path.to_path_buf(),
            secret_mode,
        })
    }

    /// Writes everything that was issued. What readers wait for, the chain, comes last.
    pub fn write_issued(&self, issued: &Issued, key: &LeafKey) -> Result<(), VolumeError> {
        self.write(ROOT_CA, issued.root_ca.as_bytes(), PUBLIC)?;
        match &issued.previous {
            Some((mesh_ca, policies)) => {
                let policies: Vec<_> = policies.iter().map(ToString::to_string).collect();
                let allowed = json!({"generation": issued.generation, "policies": policies});
                self.write(PREVIOUS_ALLOWED, allowed.to_string().as_bytes(), PUBLIC)?;
                self.write(PREVIOUS_CA, mesh_ca.as_bytes(), PUBLIC)?;
            }
            None => {
                self.remove(PREVIOUS_CA)?;
                self.remove(PREVIOUS_ALLOWED)?;
            }
        }
        match &issued.secret {
            Some(secret) => {
                let text = hex(secret.as_ref());
                self.write(SECRET, text.as_bytes(), self.secret_mode)?;
            }
            None => self.remove(SECRET)?,
        }
        self.write(MESH_CA, issued.mesh_ca.as_bytes(), PUBLIC)?;
        self.write(KEY, key.to_pem().as_bytes(), self.secret_mode)?;
        self.write(CHAIN, issued.chain.as_bytes(), PUBLIC)
    }

    /// The key of certificates that are there already, and how long ago they were written: a renewer goes on
    /// with what the initializer, or an earlier run of its own, has got.
    pub fn issued(&self) -> Option<(LeafKey, Duration)> {
        let text = Zeroizing::new(fs::read_to_string(self.path.join(KEY)).ok()?);
        let chain = fs::metadata(self.path.join(CHAIN)).ok()?;
        let key = LeafKey::from_pem(&text).ok()?;
        // A file from the future was just written, by a clock that was set back since.
        let age = SystemTime::now().duration_since(chain.modified().ok()?);
        Some((key, age.unwrap_or_default()))
    }

    /// Puts the start gate there. Has to come last: who finds it finds everything else.
    pub fn write_gate(&self, gate: &Path) -> Result<(), VolumeError> {
        let program = fs::read(gate).map_err(failed(gate))?;
        self.write(GATE, &program, PROGRAM)
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), VolumeError> {
        let path = self.path.join(name);
        let fresh = self.path.join(format!(".new-{name}"));
        let written = write_fresh(&fresh, bytes, mode).and_then(|()| fs::rename(&fresh, &path));
        written.map_err(|error| {
            let _ = fs::remove_file(&fresh);
            failed(&path)(error)
        })
    }

    fn remove(&self, name: &str) -> Result<(), VolumeError> {
        let path = self.path.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&path)(error)),
            _ => Ok(()),
        }
    }
}

fn write_fresh(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    // What a killed run left behind.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.create_new(true).write(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

fn hex(bytes: &[u8]) -> Zeroizing<String> {
    const DIGITS: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
    ];
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len()));
    for byte in bytes {
        for half in [byte >> 4, byte & 15] {
            text.extend(DIGITS.get(usize::from(half)));
        }
    }
    text
}

fn failed(path: &Path) -> impl Fn(io::Error) -> VolumeError + '_ {
    move |source| VolumeError {
        path: path.to_path_buf(),
        source,
    }
}

/// A file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct VolumeError {
    path: PathBuf,
    source: io::Error,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nacre_manifest::PolicyHash;

    use super::*;

    fn issued(full: bool) -> Issued {
        Issued {
            generation: 4,
            transition: vec![1; 32],
            chain: "chain".to_owned(),
            mesh_ca: "mesh".to_owned(),
            root_ca: "root".to_owned(),
            previous: full.then(|| ("old".to_owned(), vec![PolicyHash::of(b"p")])),
            secret: full.then(|| Zeroizing::new([0xa7; 32])),
        }
    }

    fn files(folder: &Path) -> BTreeMap<String, (u32, String)> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        entries
            .map(|entry| {
                let mode = entry.metadata().unwrap().mode() & 0o7777;
                let text = fs::read_to_string(entry.path()).unwrap();
                (entry.file_name().into_string().unwrap(), (mode, text))
            })
            .collect()
    }

    fn written(prepare: impl FnOnce(&Path)) -> BTreeMap<String, (u32, String)> {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let volume = Volume::open(folder.path()).unwrap();
        let key = LeafKey::generate().unwrap();
        volume.write_issued(&issued(true), &key).unwrap();
        let gate = tempfile::NamedTempFile::new().unwrap();
        fs::write(gate.path(), "program").unwrap();
        volume.write_gate(gate.path()).unwrap();
        files(folder.path())
    }

    #[test]
    fn files_have_names_contents_and_modes() {
        let files = written(|_| {});
        let names: Vec<_> = files.keys().map(String::as_str).collect();
        let mut expected = [
            CHAIN,
            KEY,
            MESH_CA,
            ROOT_CA,
            PREVIOUS_CA,
            PREVIOUS_ALLOWED,
            SECRET,
            GATE,
        ];
        expected.sort_unstable();
        assert_eq!(names, expected);
        assert_eq!(files[CHAIN], (0o444, "chain".to_owned()));
        assert_eq!(files[GATE], (0o555, "program".to_owned()));
        assert_eq!(files[SECRET].1, "a7".repeat(32));
        let hash = PolicyHash::of(b"p");
        let allowed = format!("{{\"generation\":4,\"policies\":[\"{hash}\"]}}");
        assert_eq!(files[PREVIOUS_ALLOWED], (0o444, allowed));
        assert!(files[KEY].1.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    }

    #[test]
    fn a_volume_with_a_group_keeps_secrets_to_the_group() {
        let files = written(|folder| {
            // As kubelet and agent leave a volume for fsGroup.
            fs::set_permissions(folder, fs::Permissions::from_mode(0o2775)).unwrap();
        });
        for name in [KEY, SECRET] {
            assert_eq!(files[name].0, 0o440, "{name}");
        }
        assert_eq!(files[CHAIN].0, 0o444);
    }

    #[test]
    fn the_group_of_the_volume_is_the_group_of_the_files() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(folder.path(), None, Some(4321)).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o2775)).unwrap();
        let volume = Volume::open(folder.path()).unwrap();
        volume
            .write_issued(&issued(true), &LeafKey::generate().unwrap())
            .unwrap();
        assert_eq!(fs::metadata(folder.path().join(KEY)).unwrap().gid(), 4321);
    }

    #[test]
    fn without_a_group_every_user_of_the_pod_can_read_the_key() {
        let mode = written(|_| {})[KEY].0;
        let root = rustix::process::geteuid().is_root();
        assert_eq!(mode, if root { 0o444 } else { 0o400 });
    }

    #[test]
    fn what_is_no_longer_issued_goes() {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::open(folder.path()).unwrap();
        let key = LeafKey::generate().unwrap();
        fs::write(folder.path().join(".new-key.pem"), "left by a killed run").unwrap();
        volume.write_issued(&issued(true), &key).unwrap();
        volume.write_issued(&issued(false), &key).unwrap();
        let names: Vec<_> = files(folder.path()).into_keys().collect();
        assert_eq!(names, [CHAIN, ROOT_CA, KEY, MESH_CA]);
    }
}
