//! NCR11xx: the history of manifests.

codes! {
    1100;
    OBJECT_MISSING = 1101, "Object of the history missing",
        "The history names an object that its store does not hold, so the history cannot be checked.",
        "Restore the object: its name is its hash, so a copy from anywhere will do, such as the directory that nacre verify wrote or an evidence bundle.";
    OBJECT_UNREADABLE = 1102, "Object of the history unreadable",
        "The store that holds the history did not give an object.",
        "See whether the store works: permissions, disk, Kubernetes API.";
    OBJECT_TAMPERED = 1103, "Object of the history tampered with",
        "The name of an object is the hash of its content, and this one holds other content. Somebody with access to the store changed it, or the store is damaged.",
        "Restore the object from a copy and find out who changed it. Nothing of it was used.";
    OBJECT_MALFORMED = 1104, "Object of the history malformed",
        "An object is not in the format of its kind, or the history is longer than any may be.",
        "Restore the object from a copy, or use the version that wrote it.";
    NOT_NEXT = 1105, "Transition does not follow the newest one",
        "A manifest is set as the successor of one certain transition. That one is not the newest any more, or never was.",
        "Run nacre verify to see what is in force now, decide again, then set or sign again.";
    TIME_BACKWARDS = 1106, "Transition signed before the one it follows",
        "The time in the transition is earlier than that in the transition before it, so that a clock is wrong.",
        "Correct the clock of the machine that signs, then sign again.";
    MANIFEST_OTHER = 1107, "Manifest is not the signed one",
        "The manifest or its set of policies has another hash than the owners signed.",
        "Sign the manifest that is to be set; do not edit or reformat it in between.";
    MANIFEST_INVALID = 1108, "Manifest of a transition invalid",
        "The manifest that a transition brings into force cannot be read or is not complete.",
        "Correct what the message names, render again, then set again.";
    IMMUTABLE = 1109, "Field that can never change",
        "Seed-share owners and the recovery threshold belong to the seed, which is made once with the first manifest.",
        "Keep them as in the first manifest. To change them, start a new deployment.";
    UPDATES_DISABLED = 1110, "Updates are disabled",
        "The manifest in force lists no workload owners, so nobody may replace it.",
        "Start a new deployment.";
    NOT_AN_OWNER = 1111, "Signature by somebody who is no owner",
        "The key is not among those who may decide here: for an update the owners of the manifest in force, for the first manifest those that are measured into the Coordinator.",
        "Sign with the key of an owner: nacre verify lists their digests.";
    SIGNATURE_INVALID = 1112, "Owner's signature does not hold",
        "The signature is not one over this transition by this key.",
        "Sign the very transition that is set: nacre sign --prepare writes what is to be signed, and the hash is that of the curve (P-256: SHA-256, P-384: SHA-384, P-521: SHA-512).";
    TOO_FEW_SIGNATURES = 1113, "Too few owners signed",
        "As many owners as the threshold says have to sign the same transition.",
        "Let more owners sign the same transition: nacre sign, then nacre set --signature.";
    FIRST_SET_UNBOUND = 1114, "First set without measured owners",
        "No owners are measured into the Coordinator (NACRE_OWNERS), so that it cannot tell who may set the first manifest.",
        "Make the keys with nacre init and render the Coordinator again. Only for tests: a manifest that says InsecureUnboundFirstSet.";
    CONFIRMATION_OTHER = 1115, "Confirmation of something else",
        "The owners confirmed the keys of another first transition or other shares of the seed.",
        "Set again and confirm what the Coordinator offers then.";
    LATEST_SIGNATURE = 1116, "Newest transition not signed by its Coordinator",
        "Which transition is the newest is signed by a key that comes from the seed. This signature is somebody else's: the store was tampered with or belongs to another deployment.",
        "Restore the object latest from a copy.";
    FOREIGN_SEED = 1117, "Seed of another deployment",
        "The seed gives other keys than the owners confirmed with the first manifest.",
        "Use the shares and the history of the same deployment.";
    NOT_COORDINATOR = 1118, "Coordinator is not one of this history",
        "The policy of this Coordinator is not listed with the role coordinator in the newest manifest, so it must not serve this history.",
        "Set a manifest that lists its policy first, or start the Coordinator that the manifest names.";
    ROLLED_BACK = 1119, "History was rolled back or replaced",
        "A transition that was seen before is not in this history: it is an older state of the store, or another history.",
        "Do not trust it. Find out who restored or replaced the store; restore the newest state.";
}
