//! Reports through configfs-tsm, Linux 6.7 and later (`Documentation/ABI/testing/configfs-tsm`).
//!
//! A directory is made for each request. `inblob` takes the 64 bytes, `outblob` gives the report,
//! `auxblob` the host's certificate table, `provider` names the driver, `generation` counts writes: it
//! tells whether somebody else wrote between our write and our reads.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::{CertificateTable, RawReport, RawReportSource, SourceError, is_busy};

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
            move |error: io::Error| match is_busy(error.kind()) {
                true => SourceError::Busy,
                false => SourceError::Io {
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
        let table = match self.files.read(entry, "auxblob") {
            Err(error) if is_busy(error.kind()) => return Err(SourceError::Busy),
            table => table.unwrap_or_default(),
        };
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
        /// What stands in `generation` instead of the number.
        generation_text: Option<&'static str>,
        /// The host's table. Without one there is no attribute.
        table: Option<Vec<u8>>,
        /// That of whoever writes in between.
        other_table: Vec<u8>,
        busy: u32,
        table_busy: u32,
        table_broken: bool,
        disturbances: u32,
        /// Writes that the driver does not count.
        uncounted: u32,
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
            match state.uncounted {
                0 => state.generation = state.generation.wrapping_add(1),
                _ => state.uncounted -= 1,
            }
            state.inblob.insert(entry.into(), data.to_vec());
            Ok(())
        }

        fn read(&self, entry: &str, attribute: &str) -> io::Result<Vec<u8>> {
            let mut state = self.state.lock().unwrap();
            assert!(state.entries.contains(entry));
            match attribute {
                "provider" => Ok(format!("{}\n", self.provider).into_bytes()),
                "generation" => Ok(match state.generation_text {
                    Some(text) => text.into(),
                    None => format!("{}\n", state.generation).into_bytes(),
                }),
                "outblob" if state.busy > 0 => {
                    state.busy -= 1;
                    Err(ErrorKind::ResourceBusy.into())
                }
                "outblob" => Ok(state.inblob[entry].clone()),
                "auxblob" if state.table_broken => Err(ErrorKind::InvalidData.into()),
                "auxblob" if state.table_busy > 0 => {
                    state.table_busy -= 1;
                    Err(ErrorKind::WouldBlock.into())
                }
                // Somebody writes between the two reads: what is read now belongs to his report.
                "auxblob" if state.disturbances > 0 => {
                    state.disturbances -= 1;
                    state.generation = state.generation.wrapping_add(1);
                    Ok(state.other_table.clone())
                }
                "auxblob" => state.table.clone().ok_or(ErrorKind::NotFound.into()),
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

    /// A table with one VCEK.
    fn table(certificate: &[u8]) -> Vec<u8> {
        let guid = *b"\x8d\x75\xda\x63\x64\xe6\x64\x45\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd";
        let length = u32::try_from(certificate.len()).unwrap();
        let (offset, length) = (48u32.to_le_bytes(), length.to_le_bytes());
        [&guid[..], &offset, &length, &[0; 24], certificate].concat()
    }

    fn vcek(report: &RawReport) -> Option<&[u8]> {
        report.certificates.vek(crate::report::SigningKey::Vcek)
    }

    #[test]
    fn the_table_of_the_host_comes_with_the_report() {
        let (_, source) = kernel(|state| state.table = Some(table(b"certificate")));
        let report = source.report(&[1; 64]).unwrap();
        assert_eq!(vcek(&report), Some(&b"certificate"[..]));
        // No attribute, an empty one, one that cannot be read, one that is none: the report is good all the same.
        let changes: [fn(&mut State); 4] = [
            |_| (),
            |state| state.table = Some(Vec::new()),
            |state| state.table_broken = true,
            |state| state.table = Some(vec![0xff; 100]),
        ];
        for change in changes {
            let (_, source) = kernel(change);
            let report = source.report(&[1; 64]).unwrap();
            assert_eq!((vcek(&report), report.report.len()), (None, 64));
        }
    }

    #[test]
    fn a_table_that_is_busy_is_asked_for_again() {
        let (_, source) = kernel(|state| {
            state.table = Some(table(b"certificate"));
            state.table_busy = ATTEMPTS - 1;
        });
        let report = source.report(&[1; 64]).unwrap();
        assert_eq!(vcek(&report), Some(&b"certificate"[..]));
        let (_, source) = kernel(|state| state.table_busy = ATTEMPTS);
        assert!(matches!(source.report(&[1; 64]), Err(SourceError::Busy)));
    }

    #[test]
    fn the_table_of_another_writer_is_not_taken() {
        let (_, source) = kernel(|state| {
            state.table = Some(table(b"ours"));
            state.other_table = table(b"another's");
            state.disturbances = 1;
        });
        let report = source.report(&[1; 64]).unwrap();
        assert_eq!(vcek(&report), Some(&b"ours"[..]));
    }

    #[test]
    fn a_generation_moves_by_one_or_the_report_is_not_taken() {
        let (_, source) = kernel(|state| state.generation = u64::MAX);
        assert!(source.report(&[1; 64]).is_ok());
        // A write that did not count: the report may be of another's.
        let (_, source) = kernel(|state| state.uncounted = ATTEMPTS - 1);
        assert!(source.report(&[1; 64]).is_ok());
        let (_, source) = kernel(|state| state.uncounted = ATTEMPTS);
        let error = source.report(&[1; 64]).unwrap_err();
        assert!(matches!(error, SourceError::Disturbed { .. }), "{error}");
        for text in ["", "-1", "one", "18446744073709551616"] {
            let (kernel, source) = kernel(|state| state.generation_text = Some(text));
            let error = source.report(&[1; 64]).unwrap_err();
            assert!(
                matches!(&error, SourceError::Firmware { detail } if detail.contains(text)),
                "{error}"
            );
            assert!(kernel.state.lock().unwrap().entries.is_empty());
        }
    }

    /// The kernel's files below a directory of the test, which gives an entry the attributes that configfs would.
    struct Rooted(KernelFiles);

    impl Rooted {
        const ATTRIBUTES: [&str; 5] = ["provider", "generation", "inblob", "outblob", "auxblob"];

        fn path(&self, entry: &str, attribute: &str) -> PathBuf {
            self.0.root.join(entry).join(attribute)
        }
    }

    impl TsmFiles for Rooted {
        fn create(&self, entry: &str) -> io::Result<()> {
            self.0.create(entry)?;
            let contents = [&b"sev_guest\n"[..], b"41\n", &[0xee; 100], b"", b""];
            for (attribute, content) in Self::ATTRIBUTES.iter().zip(contents) {
                std::fs::write(self.path(entry, attribute), content)?;
            }
            Ok(())
        }

        fn write(&self, entry: &str, attribute: &str, data: &[u8]) -> io::Result<()> {
            self.0.write(entry, attribute, data)?;
            // What was there is not truncated: configfs has no such thing.
            let written = std::fs::read(self.path(entry, "inblob"))?;
            assert_eq!((written.len(), &written[..64]), (100, data));
            std::fs::write(self.path(entry, "outblob"), [data, data].concat())?;
            std::fs::write(self.path(entry, "auxblob"), table(b"certificate"))?;
            std::fs::write(self.path(entry, "generation"), "42\n")
        }

        fn read(&self, entry: &str, attribute: &str) -> io::Result<Vec<u8>> {
            self.0.read(entry, attribute)
        }

        fn remove(&self, entry: &str) -> io::Result<()> {
            for attribute in Self::ATTRIBUTES {
                std::fs::remove_file(self.path(entry, attribute))?;
            }
            self.0.remove(entry)
        }
    }

    #[test]
    fn files_are_written_and_read_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        let files = KernelFiles {
            root: root.path().into(),
        };
        let source = ConfigfsTsm::with(Box::new(Rooted(files)));
        for byte in [1, 2] {
            let report = source.report(&[byte; 64]).unwrap();
            assert_eq!(report.report, [byte; 128]);
            assert_eq!(vcek(&report), Some(&b"certificate"[..]));
        }
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }

    #[test]
    fn files_that_are_not_there_are_named() {
        let root = tempfile::tempdir().unwrap();
        let files = KernelFiles {
            root: root.path().into(),
        };
        files.create("entry").unwrap();
        let kind = |result: io::Result<()>| result.unwrap_err().kind();
        assert_eq!(kind(files.create("entry")), ErrorKind::AlreadyExists);
        // An attribute that the kernel does not have is not made.
        assert_eq!(
            kind(files.write("entry", "inblob", &[1])),
            ErrorKind::NotFound
        );
        assert_eq!(
            kind(files.read("entry", "outblob").map(drop)),
            ErrorKind::NotFound
        );
        assert_eq!(kind(files.remove("other")), ErrorKind::NotFound);
        files.remove("entry").unwrap();
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
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
