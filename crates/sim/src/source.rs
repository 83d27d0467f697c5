//! A guest on a simulated machine, as a source of evidence.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nacre_attest::{Evidence, ReportSource, SourceError};

use crate::machine::Machine;
use crate::report::ReportSpec;

/// How the simulated firmware behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct Behaviour {
    /// One report at a time, as the firmware makes them.
    pub serial: bool,
    /// How long a report takes.
    pub delay: Duration,
    /// This many requests, from the first on, are answered with BUSY.
    pub busy: u32,
}

/// A guest that can ask for reports.
#[derive(Debug)]
pub struct SimulatedGuest {
    machine: Machine,
    report: ReportSpec,
    crl: Vec<u8>,
    behaviour: Behaviour,
    firmware: Mutex<()>,
    refused: AtomicU32,
}

impl SimulatedGuest {
    /// A guest of the machine with its default report.
    pub fn new(machine: Machine, crl: Vec<u8>) -> Self {
        let report = machine.report();
        Self::with(machine, report, crl, Behaviour::default())
    }

    /// A guest whose reports say this (REPORT_DATA aside) and are made like that.
    pub fn with(machine: Machine, report: ReportSpec, crl: Vec<u8>, behaviour: Behaviour) -> Self {
        Self {
            machine,
            report,
            crl,
            behaviour,
            firmware: Mutex::new(()),
            refused: AtomicU32::new(0),
        }
    }
}

impl ReportSource for SimulatedGuest {
    fn name(&self) -> &'static str {
        "simulation"
    }

    fn evidence(&self, report_data: &[u8; 64]) -> Result<Evidence, SourceError> {
        if self.refused.fetch_add(1, Ordering::Relaxed) < self.behaviour.busy {
            return Err(SourceError::Busy);
        }
        let turn = self
            .behaviour
            .serial
            .then(|| self.firmware.lock().unwrap_or_else(PoisonError::into_inner));
        std::thread::sleep(self.behaviour.delay);
        let report = ReportSpec {
            report_data: *report_data,
            ..self.report.clone()
        };
        let evidence = self.machine.evidence(&report, Some(self.crl.clone()));
        drop(turn);
        evidence.map_err(|error| SourceError::Firmware {
            detail: error.to_string(),
        })
    }
}
