//! Reports through configfs-tsm, Linux 6.7 and later (`Documentation/ABI/testing/configfs-tsm`).
//!
//! A directory is made for each request. `inblob` takes the 64 bytes, `outblob` gives the report,
//! `auxblob` the host's certificate table, `provider` names the driver, `generation` counts writes: it
//! tells whether somebody else wrote between our write and our reads.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{CertificateTable, RawReport, RawReportSource, SourceError};

/// Where the kernel has it.
pub const TSM_ROOT: &str = "/sys/kernel/config/tsm/report";
const PROVIDER: &str = "sev_guest";
const ATTEMPTS: u32 = 5;
/// So many entries of killed processes are passed by.
const LEFT_BEHIND: u32 = 1000;
/// First pause after BUSY; doubled each time.
const PAUSE: Duration = Duration::from_millis(20);

/// File operations below the root; the kernel's, or those of a test.
pub trait TsmFiles: Send + Sync {
    /// Makes an entry.
    fn create(&self, entry: &str) -> io::Result<()>;
    /// Writes an attribute whole.
    fn write(&self, entry: &str, attribute: &str, data: &[u8]) -> io::Result<()>;
    /// Reads an attribute whole.
    fn read(&self, entry: &str, attribute: &str) -> io::Result<Vec<u8>>;
    /// Takes an entry away.
    fn remove(&self, entry: &str) -> io::Result<()>;
}

/// The kernel's files.
#[derive(Debug)]
struct KernelFiles {
    root: PathBuf,
}

impl TsmFiles for KernelFiles {
    fn create(&self, entry: &str) -> io::Result<()> {
        std::fs::create_dir(self.root.join(entry))
    }

    fn write(&self, entry: &str, attribute: &str, data: &[u8]) -> io::Result<()> {
        use std::io::Write as _;
        // One write(2), and no truncation: the attribute is a message, not a file.
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .open(self.root.join(entry).join(attribute))?;
        file.write_all(data)
    }

    fn read(&self, entry: &str, attribute: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.root.join(entry).join(attribute))
    }

    fn remove(&self, entry: &str) -> io::Result<()> {
        std::fs::remove_dir(self.root.join(entry))
    }
}

/// Reports through configfs-tsm.
pub struct ConfigfsTsm {
    files: Box<dyn TsmFiles>,
    next: AtomicU32,
    pause: Duration,
}

impl ConfigfsTsm {
    /// The kernel's, when it is there.
    pub fn open() -> Result<Self, SourceError> {
        Self::open_at(TSM_ROOT.into())
    }

    /// As [`ConfigfsTsm::open`], with the file system below another root.
    pub fn open_at(root: PathBuf) -> Result<Self, SourceError> {
        if !root.is_dir() {
            return Err(SourceError::Absent {
                path: root.display().to_string(),
            });
        }
        Ok(Self::with(Box::new(KernelFiles { root })))
    }

    /// Over other file operations.
    pub fn with(files: Box<dyn TsmFiles>) -> Self {
        Self {
            files,
            next: AtomicU32::new(0),
            pause: PAUSE,
        }
    }

    fn attempt(
        &self,
        entry: &str,
        report_data: &[u8; 64],
    ) -> Result<Option<RawReport>, SourceError> {
        let io = |attribute: &'static str| {
            move |error: io::Error| match error.kind() {
                ErrorKind::ResourceBusy | ErrorKind::Interrupted | ErrorKind::WouldBlock => {
                    SourceError::Busy
                }
                _ => SourceError::Io {
                    path: attribute.into(),
                    source: error,
                },
            }
        };
        let provider = self.text(entry, "provider").map_err(io("provider"))?;
        if provider != PROVIDER {
            return Err(SourceError::Provider { actual: provider });
        }
        let before = self.generation(entry)?;
        self.files
            .write(entry, "inblob", report_data)
            .map_err(io("inblob"))?;
        let report = self.files.read(entry, "outblob").map_err(io("outblob"))?;
        // Kernels and hosts without a table have no such attribute, or an empty one.
        let table = self.files.read(entry, "auxblob").unwrap_or_default();
        let after = self.generation(entry)?;
        Ok((after == before.wrapping_add(1)).then(|| RawReport {
            report,
            certificates: CertificateTable::parse(&table),
        }))
    }

    fn generation(&self, entry: &str) -> Result<u64, SourceError> {
        let path = || String::from("generation");
        let text = self
            .text(entry, "generation")
            .map_err(|source| SourceError::Io {
                path: path(),
                source,
            })?;
        text.parse().map_err(|_| SourceError::Firmware {
            detail: format!("generation {text:?}"),
        })
    }

    fn text(&self, entry: &str, attribute: &str) -> io::Result<String> {
        let bytes = self.files.read(entry, attribute)?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// A new entry. Process numbers come back, in a container at each start, and a killed process leaves its
    /// entry until the guest ends: names that are taken are passed by.
    fn entry(&self) -> Result<String, SourceError> {
        let mut taken = 0;
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let entry = format!("nacre-{}-{number}", std::process::id());
            match self.files.create(&entry) {
                Ok(()) => return Ok(entry),
                Err(error) if error.kind() == ErrorKind::AlreadyExists && taken < LEFT_BEHIND => {
                    taken += 1;
                }
                Err(source) => {
                    return Err(SourceError::Io {
                        path: entry,
                        source,
                    });
                }
            }
        }
    }

    fn tries(&self, entry: &str, report_data: &[u8; 64]) -> Result<RawReport, SourceError> {
        let mut busy = false;
        for attempt in 0..ATTEMPTS {
            match self.attempt(entry, report_data) {
                Ok(Some(report)) => return Ok(report),
                Ok(None) => busy = false,
                Err(SourceError::Busy) => busy = true,
                Err(error) => return Err(error),
            }
            std::thread::sleep(self.pause.saturating_mul(1 << attempt.min(4)));
        }
        Err(if busy {
            SourceError::Busy
        } else {
            SourceError::Disturbed { attempts: ATTEMPTS }
        })
    }
}

impl RawReportSource for ConfigfsTsm {
    fn name(&self) -> &'static str {
        "configfs-tsm"
    }

    fn report(&self, report_data: &[u8; 64]) -> Result<RawReport, SourceError> {
        let entry = self.entry()?;
        let report = self.tries(&entry, report_data);
        // An entry that stays behind is the kernel's memory, not ours; the report is good.
        let _ = self.files.remove(&entry);
        report
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Mutex;

    use super::*;

    /// What the driver does, without the hardware.
    #[derive(Default)]
    struct FakeKernel {
        state: Mutex<State>,
        provider: &'static str,
    }

    #[derive(Default)]
    struct State {
        entries: BTreeSet<String>,
        inblob: BTreeMap<String, Vec<u8>>,
        generation: u64,
        busy: u32,
        disturbances: u32,
        made: u32,
    }

    impl TsmFiles for std::sync::Arc<FakeKernel> {
        fn create(&self, entry: &str) -> io::Result<()> {
            let mut state = self.state.lock().unwrap();
            state.made += 1;
            if state.entries.insert(entry.into()) {
                Ok(())
            } else {
                Err(ErrorKind::AlreadyExists.into())
            }
        }

        fn write(&self, entry: &str, attribute: &str, data: &[u8]) -> io::Result<()> {
            assert_eq!((attribute, data.len()), ("inblob", 64));
            let mut state = self.state.lock().unwrap();
            state.generation += 1;
            state.inblob.insert(entry.into(), data.to_vec());
            Ok(())
        }

        fn read(&self, entry: &str, attribute: &str) -> io::Result<Vec<u8>> {
            let mut state = self.state.lock().unwrap();
            assert!(state.entries.contains(entry));
            match attribute {
                "provider" => Ok(format!("{}\n", self.provider).into_bytes()),
                "generation" => Ok(format!("{}\n", state.generation).into_bytes()),
                "outblob" if state.busy > 0 => {
                    state.busy -= 1;
                    Err(ErrorKind::ResourceBusy.into())
                }
                "outblob" => {
                    if state.disturbances > 0 {
                        state.disturbances -= 1;
                        state.generation += 1;
                    }
                    Ok(state.inblob[entry].clone())
                }
                "auxblob" => Ok(Vec::new()),
                other => panic!("{other}"),
            }
        }

        fn remove(&self, entry: &str) -> io::Result<()> {
            self.state.lock().unwrap().entries.remove(entry);
            Ok(())
        }
    }

    fn kernel(change: impl FnOnce(&mut State)) -> (std::sync::Arc<FakeKernel>, ConfigfsTsm) {
        let mut state = State::default();
        change(&mut state);
        let kernel = std::sync::Arc::new(FakeKernel {
            state: Mutex::new(state),
            provider: PROVIDER,
        });
        let mut source = ConfigfsTsm::with(Box::new(kernel.clone()));
        source.pause = Duration::ZERO;
        (kernel, source)
    }

    #[test]
    fn a_report_for_each_request_and_no_entry_left() {
        let (kernel, source) = kernel(|_| ());
        for byte in 0..3 {
            assert_eq!(source.report(&[byte; 64]).unwrap().report, [byte; 64]);
        }
        let state = kernel.state.lock().unwrap();
        assert_eq!((state.made, state.entries.len()), (3, 0));
    }

    #[test]
    fn an_entry_that_a_killed_process_left_is_not_in_the_way() {
        let left = format!("nacre-{}-0", std::process::id());
        let (kernel, source) = kernel(|state| {
            state.entries.insert(left.clone());
        });
        assert!(source.report(&[1; 64]).is_ok());
        assert_eq!(kernel.state.lock().unwrap().entries, [left].into());
    }

    #[test]
    fn another_writer_is_seen_and_the_request_repeated() {
        let (_, source) = kernel(|state| state.disturbances = ATTEMPTS - 1);
        assert!(source.report(&[1; 64]).is_ok());
        let (kernel, source) = kernel(|state| state.disturbances = ATTEMPTS);
        let error = source.report(&[1; 64]).unwrap_err();
        assert!(
            matches!(error, SourceError::Disturbed { attempts: ATTEMPTS }),
            "{error}"
        );
        assert!(kernel.state.lock().unwrap().entries.is_empty());
    }

    #[test]
    fn busy_firmware_is_asked_again() {
        let (_, source) = kernel(|state| state.busy = ATTEMPTS - 1);
        assert!(source.report(&[1; 64]).is_ok());
        let (_, source) = kernel(|state| state.busy = ATTEMPTS);
        assert!(matches!(source.report(&[1; 64]), Err(SourceError::Busy)));
    }

    #[test]
    fn another_provider_is_refused() {
        let fake = FakeKernel {
            provider: "tdx_guest",
            ..FakeKernel::default()
        };
        let source = ConfigfsTsm::with(Box::new(std::sync::Arc::new(fake)));
        let error = source.report(&[1; 64]).unwrap_err();
        assert!(matches!(error, SourceError::Provider { actual } if actual == "tdx_guest"));
    }

    #[test]
    fn without_the_kernel_interface_there_is_no_source() {
        let root = tempfile::tempdir().unwrap();
        let absent = ConfigfsTsm::open_at(root.path().join("tsm/report"));
        assert!(matches!(absent.err(), Some(SourceError::Absent { .. })));
        // A directory that is not the kernel's has no attributes.
        let source = ConfigfsTsm::open_at(root.path().into()).unwrap();
        let error = source.report(&[1; 64]).unwrap_err();
        assert!(matches!(error, SourceError::Io { path, .. } if path == "provider"));
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
