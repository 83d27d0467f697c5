//! Findings of one workload while its policy is made.

use nacre_findings::{Code, Finding, ResourceRef, Severity};

use crate::input::WorkloadInput;

/// Collects findings and gives each its resource and field path.
pub(crate) struct Notes {
    resource: ResourceRef,
    root: String,
    findings: Vec<Finding>,
}

impl Notes {
    pub(crate) fn new(input: &WorkloadInput<'_>) -> Self {
        Self {
            resource: ResourceRef {
                api_version: input.api_version.to_owned(),
                kind: input.kind.to_owned(),
                namespace: Some(input.namespace().to_owned()),
                name: input.name.to_owned(),
            },
            root: input.pod_spec_path.to_owned(),
            findings: Vec::new(),
        }
    }

    pub(crate) fn error(&mut self, code: Code, field: &str, message: impl Into<String>) {
        self.push(Finding::error(code, message), field);
    }

    pub(crate) fn warning(&mut self, code: Code, field: &str, message: impl Into<String>) {
        self.push(Finding::warning(code, message), field);
    }

    pub(crate) fn info(&mut self, code: Code, field: &str, message: impl Into<String>) {
        self.push(Finding::info(code, message), field);
    }

    /// Adds a finding at `field`, a path below the pod spec (empty for the spec itself).
    pub(crate) fn push(&mut self, mut finding: Finding, field: &str) {
        let path = match field {
            "" => self.root.clone(),
            _ => format!("{}.{field}", self.root),
        };
        finding.field = Some(path);
        finding.resource = Some(self.resource.clone());
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.findings.iter().any(|f| f.severity == Severity::Error)
    }

    pub(crate) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }
}
