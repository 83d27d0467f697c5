//! What `deploy/` says.

use std::path::Path;

/// Account, role and binding of the Coordinator as `deploy/coordinator.yml` has them, for another namespace.
pub fn coordinator_rights(namespace: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/coordinator.yml");
    let text = std::fs::read_to_string(file).unwrap();
    let is_right = |document: &&str| {
        ["ServiceAccount", "Role", "RoleBinding"]
            .iter()
            .any(|kind| document.contains(&format!("\nkind: {kind}\n")))
    };
    let documents: Vec<&str> = text.split("---\n").filter(is_right).collect();
    assert_eq!(documents.len(), 3, "{documents:?}");
    documents
        .join("---\n")
        .replace("namespace: default", &format!("namespace: {namespace}"))
}
