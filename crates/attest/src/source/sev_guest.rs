//! Reports through the ioctl `SNP_GET_REPORT` of `/dev/sev-guest`, for kernels without configfs-tsm
//! (`Documentation/virt/coco/sev-guest.rst`, `include/uapi/linux/sev-guest.h`).
//!
//! The `sev` crate makes the call, because it needs unsafe code. Two things to know of release 8.0:
//!
//! - It drops errno and shows only what the kernel wrote to `exitinfo2`: the firmware's code in the lower half, the
//!   host's in the upper. All ones, the host's code "unknown", means that the firmware was not asked. Errno is
//!   therefore set to zero before the call and read after it; `sev` makes no other call in between.
//! - For `SNP_GET_EXT_REPORT` it follows the offsets and lengths of the host's certificate table without a look at
//!   their bounds: a host could have memory of this process handed out as a certificate. That request is not made.
//!   Certificates come from the sources of collateral; configfs-tsm gives the host's table, which
//!   [`CertificateTable::parse`](super::CertificateTable::parse) reads.

use std::io::{self, ErrorKind};
use std::sync::{Mutex, PoisonError};

use errno::{Errno, errno, set_errno};
use sev::error::{UserApiError, VmmError};
use sev::firmware::guest::Firmware;

use super::{CertificateTable, RawReport, RawReportSource, SourceError, is_busy};

const DEVICE: &str = "/dev/sev-guest";

/// The calls of the device; the kernel's, or those of a test.
trait Device: Send {
    /// A report, or errno and what the firmware or the host said.
    fn report(
        &mut self,
        report_data: [u8; 64],
        vmpl: u32,
    ) -> Result<Vec<u8>, (Errno, UserApiError)>;
}

impl Device for Firmware {
    fn report(
        &mut self,
        report_data: [u8; 64],
        vmpl: u32,
    ) -> Result<Vec<u8>, (Errno, UserApiError)> {
        set_errno(Errno(0));
        self.get_report(None, Some(report_data), Some(vmpl))
            .map_err(|error| (errno(), error))
    }
}

/// Reports through `/dev/sev-guest`.
pub struct SevGuest {
    device: Mutex<Box<dyn Device>>,
    vmpl: u32,
}

impl SevGuest {
    /// The device, when it is there. Reports are asked for at this privilege level.
    pub fn open(vmpl: u32) -> Result<Self, SourceError> {
        match Firmware::open() {
            Ok(firmware) => Ok(Self::with(Box::new(firmware), vmpl)),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(SourceError::Absent {
                path: DEVICE.into(),
            }),
            Err(source) => Err(SourceError::Io {
                path: DEVICE.into(),
                source,
            }),
        }
    }

    fn with(device: Box<dyn Device>, vmpl: u32) -> Self {
        Self {
            device: Mutex::new(device),
            vmpl,
        }
    }
}

impl RawReportSource for SevGuest {
    fn name(&self) -> &'static str {
        "sev-guest"
    }

    fn report(&self, report_data: &[u8; 64]) -> Result<RawReport, SourceError> {
        // The device makes one report at a time; waiting here is cheaper than being told BUSY.
        let mut device = self.device.lock().unwrap_or_else(PoisonError::into_inner);
        let report = device
            .report(*report_data, self.vmpl)
            .map_err(|(errno, error)| refused(errno, &error))?;
        Ok(RawReport {
            report,
            certificates: CertificateTable::default(),
        })
    }
}

/// Busy where asking again may help: the call was interrupted or turned away, or the host let it wait for too long.
fn refused(errno: Errno, error: &UserApiError) -> SourceError {
    let system = io::Error::from(errno);
    let throttled = matches!(
        error,
        UserApiError::VmmError(VmmError::RateLimitRetryRequest)
    );
    if throttled || is_busy(system.kind()) {
        return SourceError::Busy;
    }
    SourceError::Firmware {
        detail: match errno {
            Errno(0) => error.to_string(),
            _ => format!("{system}: {error}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use sev::error::SevError;

    use super::*;

    // Numbers of Linux on x86-64.
    const EINTR: i32 = 4;
    const EIO: i32 = 5;
    const EAGAIN: i32 = 11;
    const EBUSY: i32 = 16;
    const ENOTTY: i32 = 25;
    const ETIMEDOUT: i32 = 110;

    /// A device that fails in one way, once.
    struct Fails(Option<(i32, UserApiError)>);

    impl Device for Fails {
        fn report(
            &mut self,
            report_data: [u8; 64],
            vmpl: u32,
        ) -> Result<Vec<u8>, (Errno, UserApiError)> {
            assert_eq!((report_data, vmpl), ([7; 64], 2));
            match self.0.take() {
                Some((errno, error)) => Err((Errno(errno), error)),
                None => Ok(vec![1; 1184]),
            }
        }
    }

    /// What a failure becomes, and whether the next request is served.
    fn fails(errno: i32, error: UserApiError) -> SourceError {
        let source = SevGuest::with(Box::new(Fails(Some((errno, error)))), 2);
        let failure = source.report(&[7; 64]).unwrap_err();
        assert_eq!(source.report(&[7; 64]).unwrap().report, [1; 1184]);
        failure
    }

    #[test]
    fn what_may_go_better_the_next_time_is_busy() {
        for errno in [EINTR, EAGAIN, EBUSY] {
            let failure = fails(errno, VmmError::Unknown.into());
            assert!(matches!(failure, SourceError::Busy), "{errno}: {failure}");
        }
        // The kernel asked a host that throttles for a minute, then gave up.
        let failure = fails(ETIMEDOUT, VmmError::RateLimitRetryRequest.into());
        assert!(matches!(failure, SourceError::Busy), "{failure}");
    }

    #[test]
    fn what_will_not_is_an_error_with_the_codes_of_both() {
        let text = |errno, error| match fails(errno, error) {
            SourceError::Firmware { detail } => detail,
            other => panic!("{other}"),
        };
        let detail = text(EIO, SevError::InvalidParam.into());
        assert!(detail.contains("(os error 5)"), "{detail}");
        assert!(detail.contains("Status Code: 0x16"), "{detail}");
        // The kernel has thrown its key away after a failure: no request will ever be served again.
        let detail = text(ENOTTY, VmmError::Unknown.into());
        assert!(detail.contains("(os error 25)"), "{detail}");
        assert!(detail.contains("VMM"), "{detail}");
        // The call was made, the firmware said no.
        let detail = text(0, SevError::InvalidParam.into());
        assert!(!detail.contains("os error"), "{detail}");
        assert!(detail.contains("Status Code: 0x16"), "{detail}");
        // Timed out, and not because the host throttles.
        let detail = text(ETIMEDOUT, VmmError::Unknown.into());
        assert!(detail.contains("(os error 110)"), "{detail}");
    }

    #[test]
    fn without_the_device_there_is_no_source_and_nothing_else_instead() {
        if std::path::Path::new(DEVICE).exists() {
            return;
        }
        assert!(
            matches!(SevGuest::open(0).err(), Some(SourceError::Absent { path }) if path == DEVICE)
        );
    }
}
