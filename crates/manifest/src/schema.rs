//! JSON Schema of the manifest.

use serde_json::{Value, json};

use crate::manifest::{API_VERSION, KIND};
use crate::policy::Profile;
use crate::reference::{Product, ReportDataForm};

/// The JSON Schema (draft 2020-12) of a manifest, plain or wrapped as an object.
pub fn schema() -> Value {
    let mut properties = json!({
        "apiVersion": { "const": API_VERSION },
        "kind": { "const": KIND },
        "metadata": metadata(),
        "TrustDomain": {
            "type": "string", "pattern": "^[a-z0-9._-]{1,255}$", "default": "nacre.local",
            "description": "Authority of the workloads' SPIFFE URIs."
        },
        "Policies": {
            "type": "object",
            "description": "The workloads, by the hash of their policy.",
            "propertyNames": { "pattern": "^[0-9a-f]{64}$" },
            "additionalProperties": policy()
        },
        "ReferenceValues": object(&[], json!({ "snp": list(snp(), "Sets for AMD SEV-SNP.") })),
        "WorkloadOwnerKeyDigests": list(
            hex(32, "SHA-256 of the DER-encoded SubjectPublicKeyInfo."),
            "Who may set the next manifest; empty = nobody."
        ),
        "SeedshareOwnerPubKeys": list(
            json!({ "type": "string", "pattern": "^([0-9a-f]{2})+$",
                    "description": "RSA public key, PKCS#1 DER as hex." }),
            "Who gets a share of the seed and may recover."
        ),
    });
    let rest = json!({
        "UpdateThreshold": count("How many workload owners must sign an update."),
        "RecoveryThreshold": count("How many seed-share owners must take part in a recovery."),
        "CoordinatorReplicas": count("How many Coordinators must confirm an update."),
        "PeerRecovery": flag("Whether a restarted Coordinator may get the seed from another one."),
        "AllowAnyChip": flag("Whether peer recovery may do without a list of chips."),
        "CAOverlap": flag("Whether certificates of the manifest before this one stay good in the mesh until the next update."),
        "AllowUnattestedCoordinator": flag("Workloads may trust a Coordinator that they did not attest."),
        "InsecureUnboundFirstSet": flag("The first manifest may be set by anybody."),
        "TestRoot": hex(32, "Root of simulated evidence; refused by production programs."),
    });
    if let (Value::Object(properties), Value::Object(rest)) = (&mut properties, rest) {
        properties.extend(rest);
    }
    let mut schema = object(&["apiVersion", "Policies", "ReferenceValues"], properties);
    if let Value::Object(schema) = &mut schema {
        schema.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        schema.insert(
            "$id".to_owned(),
            json!("https://nacre.dev/schema/v1alpha1/manifest.json"),
        );
        schema.insert("title".to_owned(), json!("Nacre manifest"));
    }
    schema
}

fn policy() -> Value {
    let identity = object(
        &["Kind", "Name", "Namespace"],
        json!({
            "Namespace": text("Namespace; default where the object has none."),
            "Kind": text("Kind as the object spells it."),
            "Name": text("Name of the object."),
        }),
    );
    object(
        &[],
        json!({
            "SANs": list(text("DNS name, IP address or URI."), "Names in the certificate."),
            "Identity": identity,
            "WorkloadSecretID": text("Names the secret the Coordinator derives; absent = none."),
            "Role": { "enum": ["coordinator"] },
            "Profile": { "enum": Profile::ALL.map(Profile::as_str), "default": "strict" },
            "Platforms": list(text("Name of a platform."), "Where it may run; empty = anywhere."),
            "PodIP": flag("Whether the certificate also names the pod's address."),
        }),
    )
}

fn snp() -> Value {
    let required = [
        "Platform",
        "ProductName",
        "CPUs",
        "TrustedMeasurement",
        "HostDataBinding",
        "MinimumTCB",
    ];
    let model = object(
        &["CPUID", "MinimumTCB"],
        json!({
            "CPUID": object(&["Family", "Model"], json!({
                "Family": byte("Family, base and extended added up."),
                "Model": byte("Model, extended model included."),
                "Stepping": byte("Stepping; absent = every one."),
            })),
            "MinimumTCB": tcb(),
        }),
    );
    object(
        &required,
        json!({
            "Platform": text("Name of the platform."),
            "ProductName": { "enum": Product::ALL.map(Product::as_str) },
            "CPUs": { "type": "integer", "minimum": 1, "maximum": u32::MAX,
                      "description": "vCPUs of the guest that has the measurement." },
            "TrustedMeasurement": nullable(hex(48, "Launch digest; null = to be filled in.")),
            "HostDataBinding": { "enum": ["enforced", "none"] },
            "ReportDataForm": { "enum": ReportDataForm::ALL.map(ReportDataForm::as_str), "default": "exact" },
            "MinimumTCB": tcb(),
            "MinimumTCBByModel": list(model, "Least TCB of single processor models."),
            "GuestPolicy": guest_policy(),
            "PlatformInfo": platform_info(),
            "MinimumMitigationVector": { "type": "integer", "minimum": 0, "maximum": u64::MAX },
            "VMPL": { "type": "integer", "minimum": 0, "maximum": 3, "default": 0 },
            "SigningKey": { "enum": ["VCEK", "VLEK"], "default": "VCEK" },
            "AllowedChipIDs": list(hex(64, "CHIP_ID."), "Accepted processors; empty = every one."),
            "IDKeyDigests": list(hex(48, "ID_KEY_DIGEST."), "Accepted ID keys."),
            "AuthorKeyDigests": list(hex(48, "AUTHOR_KEY_DIGEST."), "Accepted author keys."),
            "RequireCommittedTCB": flag("Whether the committed TCB must reach the minimum too."),
            "StrictPlatformInfo": flag("Whether unknown platform information bits are refused."),
        }),
    )
}

fn tcb() -> Value {
    let version = |what: &str| nullable(byte(&format!("{what}; null = to be filled in.")));
    object(
        &[
            "BootloaderVersion",
            "MicrocodeVersion",
            "SNPVersion",
            "TEEVersion",
        ],
        json!({
            "FMCVersion": version("FMC, Turin only"),
            "BootloaderVersion": version("Boot loader of the security processor"),
            "TEEVersion": version("Operating system of the security processor"),
            "SNPVersion": version("SNP firmware"),
            "MicrocodeVersion": version("Microcode"),
        }),
    )
}

fn guest_policy() -> Value {
    let mut properties = json!({
        "ABIMajor": byte("Least major version of the firmware ABI."),
        "ABIMinor": byte("Least minor version of the firmware ABI."),
        "SMT": { "type": "boolean", "default": true },
    });
    let flags = [
        "MigrateMA",
        "Debug",
        "SingleSocket",
        "CXLAllowed",
        "MemAES256XTS",
        "RAPLDis",
        "CipherTextHidingDRAM",
        "PageSwapDisable",
    ];
    if let Value::Object(properties) = &mut properties {
        for name in flags {
            properties.insert(
                name.to_owned(),
                json!({ "type": "boolean", "default": false }),
            );
        }
    }
    object(&[], properties)
}

fn platform_info() -> Value {
    let bits = [
        "SMTEnabled",
        "TSMEEnabled",
        "ECCEnabled",
        "RAPLDisabled",
        "CiphertextHidingDRAMEnabled",
        "AliasCheckComplete",
        "TIOEnabled",
    ];
    let properties: serde_json::Map<String, Value> = bits
        .iter()
        .map(|bit| ((*bit).to_owned(), json!({ "type": "boolean" })))
        .collect();
    object(&[], Value::Object(properties))
}

fn metadata() -> Value {
    let strings = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    object(
        &[],
        json!({
            "name": { "type": "string" },
            "namespace": { "type": "string" },
            "annotations": strings,
            "labels": strings,
        }),
    )
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

fn list(items: Value, description: &str) -> Value {
    json!({ "type": "array", "items": items, "description": description })
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "description": description })
}

fn flag(description: &str) -> Value {
    json!({ "type": "boolean", "default": false, "description": description })
}

fn count(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 1, "default": 1, "description": description })
}

fn byte(description: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": 255, "description": description })
}

fn hex(bytes: usize, description: &str) -> Value {
    let pattern = format!("^[0-9a-f]{{{}}}$", bytes * 2);
    json!({ "type": "string", "pattern": pattern, "description": description })
}

fn nullable(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}
