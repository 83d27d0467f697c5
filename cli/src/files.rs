//! Failures of writing files, as findings.

use nacre_framing::replace::{ReplaceError, finding};

use crate::error::{CommandError, Kind};

/// The failure of an all-or-nothing write.
pub(crate) fn write_error(error: &ReplaceError) -> CommandError {
    let finding = finding(error);
    match error {
        ReplaceError::Interrupted { signal } => {
            let signal = u8::try_from(*signal).unwrap_or_default();
            CommandError::new(Kind::Interrupted(signal), vec![finding])
        }
        _ => finding.into(),
    }
}
