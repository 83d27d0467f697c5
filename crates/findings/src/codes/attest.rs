//! NCR10xx: attestation. One code for each check of the verifier, in the order of the checks.

codes! {
    1000;
    REPORT_LENGTH = 1001, "Check failed: report-length",
        "This does not hold: The report is 1184 bytes long.",
        "The report is damaged or forged: ask for a new one, and do not trust the machine if it repeats.";
    REPORT_VERSION = 1002, "Check failed: report-version",
        "This does not hold: The layout of the report is one this build knows: version 2, 3, 4 or 5.",
        "Update the firmware of the machine so that it makes reports of version 3 or 5.";
    REPORT_VERSION_ALLOWED = 1003, "Check failed: report-version-allowed",
        "This does not hold: A version 2 report, which names no processor, is accepted only when the policy says so.",
        "Update the firmware of the machine so that it makes reports of version 3 or 5.";
    SIGNATURE_ALGORITHM = 1004, "Check failed: signature-algorithm",
        "This does not hold: The report states ECDSA P-384 with SHA-384.",
        "The report is damaged or forged: ask for a new one, and do not trust the machine if it repeats.";
    KEY_INFO_RESERVED = 1005, "Check failed: key-info-reserved",
        "This does not hold: The reserved bits of KEY_INFO are zero.",
        "The report is damaged or forged: ask for a new one, and do not trust the machine if it repeats.";
    CHIP_KEY_MASKED = 1006, "Check failed: chip-key-masked",
        "This does not hold: The host did not mask the keys of the chip.",
        "Say in the reference values which kind of key signs on this platform; a masked key cannot be accepted.";
    SIGNING_KEY = 1007, "Check failed: signing-key",
        "This does not hold: The report is signed by a kind of key (VCEK or VLEK) the policy accepts.",
        "Say in the reference values which kind of key signs on this platform; a masked key cannot be accepted.";
    RESERVED_BYTES = 1008, "Check failed: reserved-bytes",
        "This does not hold: The reserved areas of the report are zero.",
        "The report is damaged or forged: ask for a new one, and do not trust the machine if it repeats.";
    SIGNATURE_PADDING = 1009, "Check failed: signature-padding",
        "This does not hold: The unused bytes of the signature field are zero.",
        "The report is damaged or forged: ask for a new one, and do not trust the machine if it repeats.";
    SIGNATURE_RANGE = 1010, "Check failed: signature-range",
        "This does not hold: R and S of the signature are between 1 and the order of the curve.",
        "The report is damaged or forged: ask for a new one, and do not trust the machine if it repeats.";
    PROCESSOR_KNOWN = 1011, "Check failed: processor-known",
        "This does not hold: The processor's family and model belong to a product this build knows.",
        "The report is damaged or forged: ask for a new one, and do not trust the machine if it repeats.";
    PRODUCT_EXPECTED = 1012, "Check failed: product-expected",
        "This does not hold: The processor belongs to the product the policy names.",
        "Add reference values for the product of this machine, or run the workload on the product the manifest names.";
    TCB_RESERVED = 1013, "Check failed: tcb-reserved",
        "This does not hold: The reserved bytes of the TCB versions are zero.",
        "The report is damaged or forged: ask for a new one, and do not trust the machine if it repeats.";
    ROOT_PINNED = 1014, "Check failed: root-pinned",
        "This does not hold: The root key (ARK) of the product is the pinned one.",
        "The program does not hold AMD's certificates for this product, or the clock is wrong; check both.";
    INTERMEDIATE_PINNED = 1015, "Check failed: intermediate-pinned",
        "This does not hold: The intermediate key (ASK or ASVK) of the product is the pinned one.",
        "The program does not hold AMD's certificates for this product, or the clock is wrong; check both.";
    INTERMEDIATE_SIGNED = 1016, "Check failed: intermediate-signed",
        "This does not hold: The intermediate key is signed by the root key.",
        "The program does not hold AMD's certificates for this product, or the clock is wrong; check both.";
    INTERMEDIATE_VALIDITY = 1017, "Check failed: intermediate-validity",
        "This does not hold: Root and intermediate certificates are within their validity.",
        "The program does not hold AMD's certificates for this product, or the clock is wrong; check both.";
    VEK_ENCODING = 1018, "Check failed: vek-encoding",
        "This does not hold: The certificate of the signing key is one DER certificate with nothing behind it.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    VEK_VERSION = 1019, "Check failed: vek-version",
        "This does not hold: The certificate of the signing key is X.509 version 3.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    VEK_ALGORITHM = 1020, "Check failed: vek-algorithm",
        "This does not hold: The certificate is signed with RSASSA-PSS, SHA-384, MGF1 with SHA-384 and a salt of 48 bytes.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    VEK_KEY = 1021, "Check failed: vek-key",
        "This does not hold: The certificate holds a valid P-384 key.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    VEK_SUBJECT = 1022, "Check failed: vek-subject",
        "This does not hold: The certificate names the kind of key (SEV-VCEK or SEV-VLEK) that signed the report.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    VEK_ISSUER = 1023, "Check failed: vek-issuer",
        "This does not hold: The certificate names the intermediate key as its issuer, byte for byte.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    VEK_VALIDITY = 1024, "Check failed: vek-validity",
        "This does not hold: The certificate is within its validity.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    VEK_EXTENSIONS_UNIQUE = 1025, "Check failed: vek-extensions-unique",
        "This does not hold: No extension of the certificate stands twice.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    VEK_EXTENSIONS_KNOWN = 1026, "Check failed: vek-extensions-known",
        "This does not hold: The certificate has no critical extension that this build does not know.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    VEK_SIGNATURE = 1027, "Check failed: vek-signature",
        "This does not hold: The certificate is signed by the intermediate key.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    VEK_STRUCT_VERSION = 1028, "Check failed: vek-struct-version",
        "This does not hold: The structure version of the certificate is that of the product.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    VEK_PRODUCT = 1029, "Check failed: vek-product",
        "This does not hold: The certificate names the product of the processor.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    VEK_FMC = 1030, "Check failed: vek-fmc",
        "This does not hold: The FMC version of the certificate is the reported one; only Turin has one.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    VEK_BOOTLOADER = 1031, "Check failed: vek-bootloader",
        "This does not hold: The boot loader version of the certificate is the reported one.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    VEK_TEE = 1032, "Check failed: vek-tee",
        "This does not hold: The TEE version of the certificate is the reported one.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    VEK_SNP = 1033, "Check failed: vek-snp",
        "This does not hold: The SNP version of the certificate is the reported one.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    VEK_MICROCODE = 1034, "Check failed: vek-microcode",
        "This does not hold: The microcode version of the certificate is the reported one.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    CHIP_ID_PRESENT = 1035, "Check failed: chip-id-present",
        "This does not hold: The report names its chip unless it is signed by a VLEK or the policy allows a masked chip id.",
        "Add the chip to AllowedChipIDs if its owner is trusted; ask the host to name the chip in its reports.";
    VEK_HWID = 1036, "Check failed: vek-hwid",
        "This does not hold: A VCEK names the chip of the report; a VLEK names none.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    VEK_PROVIDER = 1037, "Check failed: vek-provider",
        "This does not hold: A VLEK names a cloud provider; a VCEK names none.",
        "The certificate does not belong to this report: fetch the one of this chip and firmware with `nacre collateral fetch`.";
    REPORT_SIGNATURE = 1038, "Check failed: report-signature",
        "This does not hold: The signature over the received bytes is made by the key of the certificate.",
        "The report is damaged or forged: ask for a new one, and do not trust the machine if it repeats.";
    TCB_REPORTED_CURRENT = 1039, "Check failed: tcb-reported-current",
        "This does not hold: No part of the reported TCB is above the current one.",
        "The machine is between two firmware updates or misreports; finish the update.";
    TCB_COMMITTED_CURRENT = 1040, "Check failed: tcb-committed-current",
        "This does not hold: No part of the committed TCB is above the current one.",
        "The machine is between two firmware updates or misreports; finish the update.";
    TCB_LAUNCH_CURRENT = 1041, "Check failed: tcb-launch-current",
        "This does not hold: No part of the TCB at launch is above the current one.",
        "The machine is between two firmware updates or misreports; finish the update.";
    FIRMWARE_ORDER = 1042, "Check failed: firmware-order",
        "This does not hold: The committed firmware release is not above the current one.",
        "The machine is between two firmware updates or misreports; finish the update.";
    PROVISIONAL_FIRMWARE = 1043, "Check failed: provisional-firmware",
        "This does not hold: The current firmware is committed unless the policy allows provisional firmware.",
        "The machine is between two firmware updates or misreports; finish the update.";
    TCB_MINIMUM_KNOWN = 1044, "Check failed: tcb-minimum-known",
        "This does not hold: The policy has a minimum TCB for this processor.",
        "Update the firmware of the machine, or change MinimumTCB in the manifest knowing what the message says is then missed.";
    TCB_REPORTED_MINIMUM = 1045, "Check failed: tcb-reported-minimum",
        "This does not hold: No part of the reported TCB is below the minimum.",
        "Update the firmware of the machine, or change MinimumTCB in the manifest knowing what the message says is then missed.";
    TCB_LAUNCH_MINIMUM = 1046, "Check failed: tcb-launch-minimum",
        "This does not hold: No part of the TCB at launch is below the minimum.",
        "Update the firmware of the machine, or change MinimumTCB in the manifest knowing what the message says is then missed.";
    TCB_COMMITTED_MINIMUM = 1047, "Check failed: tcb-committed-minimum",
        "This does not hold: No part of the committed TCB is below the minimum, when the policy asks for that.",
        "Update the firmware of the machine, or change MinimumTCB in the manifest knowing what the message says is then missed.";
    MITIGATIONS_LAUNCH = 1048, "Check failed: mitigations-launch",
        "This does not hold: The mitigations the policy asks for were in force at launch.",
        "Update the firmware of the machine, or change MinimumTCB in the manifest knowing what the message says is then missed.";
    MITIGATIONS_CURRENT = 1049, "Check failed: mitigations-current",
        "This does not hold: The mitigations the policy asks for are in force.",
        "Update the firmware of the machine, or change MinimumTCB in the manifest knowing what the message says is then missed.";
    POLICY_RESERVED = 1050, "Check failed: policy-reserved",
        "This does not hold: Bit 17 of the guest policy is one and bits 26 and up are zero.",
        "Start the guest, or configure the machine, as the reference values ask, or change them in the manifest.";
    POLICY_DEBUG = 1051, "Check failed: policy-debug",
        "This does not hold: The guest cannot be debugged by the host.",
        "Start the guest, or configure the machine, as the reference values ask, or change them in the manifest.";
    POLICY_MIGRATION = 1052, "Check failed: policy-migration",
        "This does not hold: The guest cannot be handed to a migration agent.",
        "Start the guest, or configure the machine, as the reference values ask, or change them in the manifest.";
    MIGRATION_AGENT = 1053, "Check failed: migration-agent",
        "This does not hold: The guest has no migration agent (REPORT_ID_MA is all ones).",
        "Start the guest, or configure the machine, as the reference values ask, or change them in the manifest.";
    POLICY_ABI = 1054, "Check failed: policy-abi",
        "This does not hold: The guest asks for the ABI version of the policy or a later one.",
        "Start the guest, or configure the machine, as the reference values ask, or change them in the manifest.";
    POLICY_SMT = 1055, "Check failed: policy-smt",
        "This does not hold: The guest policy treats SMT as the policy asks.",
        "Start the guest, or configure the machine, as the reference values ask, or change them in the manifest.";
    POLICY_SINGLE_SOCKET = 1056, "Check failed: policy-single-socket",
        "This does not hold: The guest policy treats a single socket as the policy asks.",
        "Start the guest, or configure the machine, as the reference values ask, or change them in the manifest.";
    POLICY_CXL = 1057, "Check failed: policy-cxl",
        "This does not hold: The guest policy treats CXL memory as the policy asks.",
        "Start the guest, or configure the machine, as the reference values ask, or change them in the manifest.";
    POLICY_AES_256_XTS = 1058, "Check failed: policy-aes-256-xts",
        "This does not hold: The guest policy treats AES-256-XTS memory encryption as the policy asks.",
        "Start the guest, or configure the machine, as the reference values ask, or change them in the manifest.";
    POLICY_RAPL = 1059, "Check failed: policy-rapl",
        "This does not hold: The guest policy treats RAPL as the policy asks.",
        "Start the guest, or configure the machine, as the reference values ask, or change them in the manifest.";
    POLICY_CIPHERTEXT_HIDING = 1060, "Check failed: policy-ciphertext-hiding",
        "This does not hold: The guest policy treats ciphertext hiding as the policy asks.",
        "Start the guest, or configure the machine, as the reference values ask, or change them in the manifest.";
    POLICY_PAGE_SWAP = 1061, "Check failed: policy-page-swap",
        "This does not hold: The guest policy treats page swapping as the policy asks.",
        "Start the guest, or configure the machine, as the reference values ask, or change them in the manifest.";
    PLATFORM_MUST_SET = 1062, "Check failed: platform-must-set",
        "This does not hold: The platform has the properties the policy asks for.",
        "Start the guest, or configure the machine, as the reference values ask, or change them in the manifest.";
    PLATFORM_MUST_CLEAR = 1063, "Check failed: platform-must-clear",
        "This does not hold: The platform has none of the properties the policy refuses.",
        "Start the guest, or configure the machine, as the reference values ask, or change them in the manifest.";
    PLATFORM_UNKNOWN = 1064, "Check failed: platform-unknown",
        "This does not hold: The platform has no property without a known meaning, when the policy is strict about it.",
        "Start the guest, or configure the machine, as the reference values ask, or change them in the manifest.";
    VMPL = 1065, "Check failed: vmpl",
        "This does not hold: The report was asked for at the privilege level of the policy.",
        "Start the guest, or configure the machine, as the reference values ask, or change them in the manifest.";
    MEASUREMENT = 1066, "Check failed: measurement",
        "This does not hold: The launch digest is one of the reference values.",
        "Compare the launch digest with `nacre reference-values`; another guest image, kernel, command line or number of vCPUs gives another digest.";
    ID_KEY_DIGEST = 1067, "Check failed: id-key-digest",
        "This does not hold: The ID block is signed by a key the policy names.",
        "Compare the ID block the guest is started with to the reference values.";
    AUTHOR_KEY_DIGEST = 1068, "Check failed: author-key-digest",
        "This does not hold: The ID key is certified by an author key the policy names.",
        "Compare the ID block the guest is started with to the reference values.";
    FAMILY_ID = 1069, "Check failed: family-id",
        "This does not hold: The family id is that of the policy.",
        "Compare the ID block the guest is started with to the reference values.";
    IMAGE_ID = 1070, "Check failed: image-id",
        "This does not hold: The image id is that of the policy.",
        "Compare the ID block the guest is started with to the reference values.";
    GUEST_SVN = 1071, "Check failed: guest-svn",
        "This does not hold: The security version of the guest is not below that of the policy.",
        "Compare the ID block the guest is started with to the reference values.";
    CHIP_ALLOWED = 1072, "Check failed: chip-allowed",
        "This does not hold: The chip is one of those the policy names.",
        "Add the chip to AllowedChipIDs if its owner is trusted; ask the host to name the chip in its reports.";
    HOST_DATA = 1073, "Check failed: host-data",
        "This does not hold: HOST_DATA is the hash of a policy that is expected here.",
        "Compare HOST_DATA with the policies of the manifest; after a change of the deployment, render again and set the new manifest.";
    REPORT_DATA = 1074, "Check failed: report-data",
        "This does not hold: REPORT_DATA is the value this exchange asks for.",
        "The evidence is not for this exchange: ask for new evidence. If it repeats, somebody passes on evidence of another connection.";
    CRL_PRESENT = 1075, "Check failed: crl-present",
        "This does not hold: A revocation list travels with the evidence, unless the policy does without.",
        "Fetch a new revocation list with `nacre collateral fetch`; do not trust the platform if it is genuine and says revoked.";
    CRL_ENCODING = 1076, "Check failed: crl-encoding",
        "This does not hold: The revocation list is one DER list with nothing behind it and no critical extension.",
        "Fetch a new revocation list with `nacre collateral fetch`; do not trust the platform if it is genuine and says revoked.";
    CRL_ALGORITHM = 1077, "Check failed: crl-algorithm",
        "This does not hold: The revocation list is signed with RSASSA-PSS, SHA-384, MGF1 with SHA-384 and a salt of 48 bytes.",
        "Fetch a new revocation list with `nacre collateral fetch`; do not trust the platform if it is genuine and says revoked.";
    CRL_ISSUER = 1078, "Check failed: crl-issuer",
        "This does not hold: The revocation list names the root key as its issuer, byte for byte.",
        "Fetch a new revocation list with `nacre collateral fetch`; do not trust the platform if it is genuine and says revoked.";
    CRL_SIGNATURE = 1079, "Check failed: crl-signature",
        "This does not hold: The revocation list is signed by the root key.",
        "Fetch a new revocation list with `nacre collateral fetch`; do not trust the platform if it is genuine and says revoked.";
    CRL_STARTED = 1080, "Check failed: crl-started",
        "This does not hold: The revocation list is not from the future.",
        "Fetch a new revocation list with `nacre collateral fetch`; do not trust the platform if it is genuine and says revoked.";
    CRL_CURRENT = 1081, "Check failed: crl-current",
        "This does not hold: The revocation list has not been due for replacement.",
        "Fetch a new revocation list with `nacre collateral fetch`; do not trust the platform if it is genuine and says revoked.";
    CRL_NOT_ROLLED_BACK = 1082, "Check failed: crl-not-rolled-back",
        "This does not hold: The revocation list is not older than one already seen.",
        "Fetch a new revocation list with `nacre collateral fetch`; do not trust the platform if it is genuine and says revoked.";
    NOT_REVOKED = 1083, "Check failed: not-revoked",
        "This does not hold: Neither the intermediate key nor the root key is revoked.",
        "Fetch a new revocation list with `nacre collateral fetch`; do not trust the platform if it is genuine and says revoked.";
}
