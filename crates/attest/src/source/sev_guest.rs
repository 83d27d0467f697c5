//! Reports through the ioctls of `/dev/sev-guest`, for kernels without configfs-tsm.
//!
//! `SNP_GET_EXT_REPORT` gives the report with the host's certificates, `SNP_GET_REPORT` the report alone
//! (`Documentation/virt/coco/sev-guest.rst`). The `sev` crate makes the calls: they need unsafe code.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use sev::firmware::guest::Firmware;
use sev::firmware::host::CertType;

use super::{CertificateTable, RawReport, RawReportSource, SourceError};
use crate::report::{Report, SigningKey};

const DEVICE: &str = "/dev/sev-guest";

/// Reports through `/dev/sev-guest`.
pub struct SevGuest {
    firmware: Mutex<Firmware>,
    vmpl: u32,
}

impl SevGuest {
    /// The device, when it is there. Reports are asked for at this privilege level.
    pub fn open(vmpl: u32) -> Result<Self, SourceError> {
        if !Path::new(DEVICE).exists() {
            return Err(SourceError::Absent {
                path: DEVICE.into(),
            });
        }
        let firmware = Firmware::open().map_err(|source| SourceError::Io {
            path: DEVICE.into(),
            source,
        })?;
        Ok(Self {
            firmware: Mutex::new(firmware),
            vmpl,
        })
    }
}

impl RawReportSource for SevGuest {
    fn name(&self) -> &'static str {
        "sev-guest"
    }

    fn report(&self, report_data: &[u8; 64]) -> Result<RawReport, SourceError> {
        // The device makes one report at a time; waiting here is cheaper than being told BUSY.
        let mut firmware = self.firmware.lock().unwrap_or_else(PoisonError::into_inner);
        let (report, certificates) =
            match firmware.get_ext_report(None, Some(*report_data), Some(self.vmpl)) {
                Ok(both) => both,
                // Hosts that hand out no certificates may refuse the extended request.
                Err(_) => {
                    let report = firmware
                        .get_report(None, Some(*report_data), Some(self.vmpl))
                        .map_err(|error| SourceError::Firmware {
                            detail: error.to_string(),
                        })?;
                    (report, None)
                }
            };
        let key = Report::parse(&report)?.signing_key();
        let wanted = match key {
            SigningKey::Vlek => CertType::VLEK,
            _ => CertType::VCEK,
        };
        let vek = certificates
            .into_iter()
            .flatten()
            .find(|entry| entry.cert_type == wanted)
            .map(|entry| entry.data);
        Ok(RawReport {
            report,
            certificates: vek
                .map(|vek| CertificateTable::of(key, vek))
                .unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_device_there_is_no_source_and_nothing_else_instead() {
        if Path::new(DEVICE).exists() {
            return;
        }
        assert!(
            matches!(SevGuest::open(0).err(), Some(SourceError::Absent { path }) if path == DEVICE)
        );
    }
}
