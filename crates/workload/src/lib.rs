//! Finds and edits the pod specs of every workload kind.
