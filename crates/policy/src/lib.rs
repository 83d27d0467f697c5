//! Execution policies: from a finished pod spec to Rego text, its carrier and its hash, and the evaluation of agent requests.
