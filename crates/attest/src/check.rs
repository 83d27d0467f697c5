//! The checks: what each is called, its stable code, and the order in which they are made.
//!
//! A check is never removed and its code never given to another one.

use std::fmt;

use serde::Serialize;

macro_rules! checks {
    ($($(#[$group:meta])* $variant:ident = $code:literal $name:literal $sentence:literal;)*) => {
        /// A check. The order is the order in which they are made.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum CheckId {
            $($(#[$group])* #[doc = $sentence] $variant,)*
        }

        impl CheckId {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The number of its code, `NCR<number>` in text.
            pub const fn code(self) -> u16 {
                match self { $(Self::$variant => $code,)* }
            }

            /// A name for tables and machines.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What holds when it passes.
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)* }
            }
        }
    };
}

checks! {
    // The bytes of the report.
    ReportLength = 1001 "report-length" "The report is 1184 bytes long.";
    ReportVersion = 1002 "report-version" "The layout of the report is one this build knows: version 2, 3, 4 or 5.";
    ReportVersionAllowed = 1003 "report-version-allowed" "A version 2 report, which names no processor, is accepted only when the policy says so.";
    SignatureAlgorithm = 1004 "signature-algorithm" "The report states ECDSA P-384 with SHA-384.";
    KeyInfoReserved = 1005 "key-info-reserved" "The reserved bits of KEY_INFO are zero.";
    ChipKeyMasked = 1006 "chip-key-masked" "The host did not mask the keys of the chip.";
    SigningKey = 1007 "signing-key" "The report is signed by a kind of key (VCEK or VLEK) the policy accepts.";
    ReservedBytes = 1008 "reserved-bytes" "The reserved areas of the report are zero.";
    SignaturePadding = 1009 "signature-padding" "The unused bytes of the signature field are zero.";
    SignatureRange = 1010 "signature-range" "R and S of the signature are between 1 and the order of the curve.";
    // The processor.
    ProcessorKnown = 1011 "processor-known" "The processor's family and model belong to a product this build knows.";
    ProductExpected = 1012 "product-expected" "The processor belongs to the product the policy names.";
    TcbReserved = 1013 "tcb-reserved" "The reserved bytes of the TCB versions are zero.";
    // The certificates.
    RootPinned = 1014 "root-pinned" "The root key (ARK) of the product is the pinned one.";
    IntermediatePinned = 1015 "intermediate-pinned" "The intermediate key (ASK or ASVK) of the product is the pinned one.";
    IntermediateSigned = 1016 "intermediate-signed" "The intermediate key is signed by the root key.";
    IntermediateValidity = 1017 "intermediate-validity" "Root and intermediate certificates are within their validity.";
    VekEncoding = 1018 "vek-encoding" "The certificate of the signing key is one DER certificate with nothing behind it.";
    VekVersion = 1019 "vek-version" "The certificate of the signing key is X.509 version 3.";
    VekAlgorithm = 1020 "vek-algorithm" "The certificate is signed with RSASSA-PSS, SHA-384, MGF1 with SHA-384 and a salt of 48 bytes.";
    VekKey = 1021 "vek-key" "The certificate holds a valid P-384 key.";
    VekSubject = 1022 "vek-subject" "The certificate names the kind of key (SEV-VCEK or SEV-VLEK) that signed the report.";
    VekIssuer = 1023 "vek-issuer" "The certificate names the intermediate key as its issuer, byte for byte.";
    VekValidity = 1024 "vek-validity" "The certificate is within its validity.";
    VekExtensionsUnique = 1025 "vek-extensions-unique" "No extension of the certificate stands twice.";
    VekExtensionsKnown = 1026 "vek-extensions-known" "The certificate has no critical extension that this build does not know.";
    VekSignature = 1027 "vek-signature" "The certificate is signed by the intermediate key.";
    VekStructVersion = 1028 "vek-struct-version" "The structure version of the certificate is that of the product.";
    VekProduct = 1029 "vek-product" "The certificate names the product of the processor.";
    VekFmc = 1030 "vek-fmc" "The FMC version of the certificate is the reported one; only Turin has one.";
    VekBootloader = 1031 "vek-bootloader" "The boot loader version of the certificate is the reported one.";
    VekTee = 1032 "vek-tee" "The TEE version of the certificate is the reported one.";
    VekSnp = 1033 "vek-snp" "The SNP version of the certificate is the reported one.";
    VekMicrocode = 1034 "vek-microcode" "The microcode version of the certificate is the reported one.";
    ChipIdPresent = 1035 "chip-id-present" "The report names its chip unless it is signed by a VLEK or the policy allows a masked chip id.";
    VekHwid = 1036 "vek-hwid" "A VCEK names the chip of the report; a VLEK names none.";
    VekProvider = 1037 "vek-provider" "A VLEK names a cloud provider; a VCEK names none.";
    // The signature.
    ReportSignature = 1038 "report-signature" "The signature over the received bytes is made by the key of the certificate.";
    // The firmware.
    ReportedNotAboveCurrent = 1039 "tcb-reported-current" "No part of the reported TCB is above the current one.";
    CommittedNotAboveCurrent = 1040 "tcb-committed-current" "No part of the committed TCB is above the current one.";
    LaunchNotAboveCurrent = 1041 "tcb-launch-current" "No part of the TCB at launch is above the current one.";
    FirmwareOrder = 1042 "firmware-order" "The committed firmware release is not above the current one.";
    ProvisionalFirmware = 1043 "provisional-firmware" "The current firmware is committed unless the policy allows provisional firmware.";
    MinimumKnown = 1044 "tcb-minimum-known" "The policy has a minimum TCB for this processor.";
    ReportedMinimum = 1045 "tcb-reported-minimum" "No part of the reported TCB is below the minimum.";
    LaunchMinimum = 1046 "tcb-launch-minimum" "No part of the TCB at launch is below the minimum.";
    CommittedMinimum = 1047 "tcb-committed-minimum" "No part of the committed TCB is below the minimum, when the policy asks for that.";
    MitigationsAtLaunch = 1048 "mitigations-launch" "The mitigations the policy asks for were in force at launch.";
    MitigationsCurrent = 1049 "mitigations-current" "The mitigations the policy asks for are in force.";
    // The guest policy and the platform.
    PolicyReserved = 1050 "policy-reserved" "Bit 17 of the guest policy is one and bits 26 and up are zero.";
    PolicyDebug = 1051 "policy-debug" "The guest cannot be debugged by the host.";
    PolicyMigration = 1052 "policy-migration" "The guest cannot be handed to a migration agent.";
    MigrationAgent = 1053 "migration-agent" "The guest has no migration agent (REPORT_ID_MA is all ones).";
    PolicyAbi = 1054 "policy-abi" "The guest asks for the ABI version of the policy or a later one.";
    PolicySmt = 1055 "policy-smt" "The guest policy treats SMT as the policy asks.";
    PolicySingleSocket = 1056 "policy-single-socket" "The guest policy treats a single socket as the policy asks.";
    PolicyCxl = 1057 "policy-cxl" "The guest policy treats CXL memory as the policy asks.";
    PolicyAes256Xts = 1058 "policy-aes-256-xts" "The guest policy treats AES-256-XTS memory encryption as the policy asks.";
    PolicyRapl = 1059 "policy-rapl" "The guest policy treats RAPL as the policy asks.";
    PolicyCiphertextHiding = 1060 "policy-ciphertext-hiding" "The guest policy treats ciphertext hiding as the policy asks.";
    PolicyPageSwap = 1061 "policy-page-swap" "The guest policy treats page swapping as the policy asks.";
    PlatformMustSet = 1062 "platform-must-set" "The platform has the properties the policy asks for.";
    PlatformMustClear = 1063 "platform-must-clear" "The platform has none of the properties the policy refuses.";
    PlatformUnknown = 1064 "platform-unknown" "The platform has no property without a known meaning, when the policy is strict about it.";
    // The guest.
    Vmpl = 1065 "vmpl" "The report was asked for at the privilege level of the policy.";
    Measurement = 1066 "measurement" "The launch digest is one of the reference values.";
    IdKeyDigest = 1067 "id-key-digest" "The ID block is signed by a key the policy names.";
    AuthorKeyDigest = 1068 "author-key-digest" "The ID key is certified by an author key the policy names.";
    FamilyId = 1069 "family-id" "The family id is that of the policy.";
    ImageId = 1070 "image-id" "The image id is that of the policy.";
    GuestSvn = 1071 "guest-svn" "The security version of the guest is not below that of the policy.";
    ChipAllowed = 1072 "chip-allowed" "The chip is one of those the policy names.";
    HostData = 1073 "host-data" "HOST_DATA is the hash of a policy that is expected here.";
    ReportData = 1074 "report-data" "REPORT_DATA is the value this exchange asks for.";
    // Revocation.
    CrlPresent = 1075 "crl-present" "A revocation list travels with the evidence, unless the policy does without.";
    CrlEncoding = 1076 "crl-encoding" "The revocation list is one DER list with nothing behind it and no critical extension.";
    CrlAlgorithm = 1077 "crl-algorithm" "The revocation list is signed with RSASSA-PSS, SHA-384, MGF1 with SHA-384 and a salt of 48 bytes.";
    CrlIssuer = 1078 "crl-issuer" "The revocation list names the root key as its issuer, byte for byte.";
    CrlSignature = 1079 "crl-signature" "The revocation list is signed by the root key.";
    CrlStarted = 1080 "crl-started" "The revocation list is not from the future.";
    CrlCurrent = 1081 "crl-current" "The revocation list has not been due for replacement.";
    CrlNotRolledBack = 1082 "crl-not-rolled-back" "The revocation list is not older than one already seen.";
    NotRevoked = 1083 "not-revoked" "Neither the intermediate key nor the root key is revoked.";
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for CheckId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_unique_and_in_order() {
        for pair in CheckId::ALL.windows(2) {
            assert!(pair[0].code() < pair[1].code());
        }
        let names: std::collections::BTreeSet<_> =
            CheckId::ALL.iter().map(|check| check.name()).collect();
        assert_eq!(names.len(), CheckId::ALL.len());
    }

    #[test]
    fn codes_stay_in_the_range_of_attestation() {
        for check in CheckId::ALL {
            assert!((1001..1100).contains(&check.code()), "{check}");
            assert!(check.sentence().ends_with('.'), "{check}");
        }
    }
}
