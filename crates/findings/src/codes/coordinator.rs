//! NCR12xx: the Coordinator.

codes! {
    1200;
    REQUEST_MALFORMED = 1201, "Request malformed",
        "A part of the request is not in its format, or messages came in another order than the protocol says.",
        "Use a client of the same version.";
    REQUEST_SLOW = 1202, "Request took too long",
        "The caller, the store or the Coordinator needed more time than a request may take.",
        "Try again. Owners who need long to confirm a first manifest can prepare their keys before.";
    NO_MANIFEST = 1203, "No manifest set yet",
        "The Coordinator has no history, so there is nothing to verify and nobody gets a certificate.",
        "Set the first manifest: nacre set.";
    NEEDS_RECOVERY = 1204, "Coordinator waits for recovery",
        "The Coordinator has restarted. The seed was only in its memory, so it can serve nobody until owners of shares or another Coordinator give it back.",
        "Recover it: nacre recover.";
    NO_RECOVERY_NEEDED = 1205, "No recovery needed",
        "A manifest is in force, so there is nothing to recover.",
        "Nothing. Whether a share works, nacre recover --dry-run says at any time.";
    NOT_SIGNED = 1206, "Owner's signature missing",
        "No owner signed the transition, or a signature for this connection was made for another one.",
        "Sign with an owner's key; what was signed for a connection cannot be sent over another.";
    APPROVALS = 1207, "Approval of something that does not wait",
        "The transition is not among those that wait for more owners, or too many wait already.",
        "Propose it with its manifest. To clear what waits, set the manifest in force again.";
    POLICIES = 1208, "Policies missing or unwanted",
        "The policies that were sent are not those the manifest lists and the history lacks, or one is larger than a guest would take.",
        "Set with the very resources that the manifest was made from.";
    OVERTAKEN = 1209, "Another update came first",
        "While this update was under way, another one came into force, here or at another Coordinator.",
        "Run nacre verify to see what is in force, then decide again.";
    OFFER_OTHER = 1210, "Confirmation of another offer",
        "What the owners confirmed is not what the Coordinator offered, or the offer was replaced by another.",
        "Set again and confirm the new offer.";
    NO_SHARE_OWNERS = 1211, "No owners of seed shares",
        "Nobody could recover the Coordinator after a restart, and the data of the workloads would be lost.",
        "Name at least one seed-share owner: nacre init makes a key.";
    NOT_SHARE_OWNER = 1212, "Not an owner of a seed share",
        "Recovery is for the seed-share owners that the manifest under recovery lists, and each request is signed for its connection.",
        "Use the key of a listed owner: nacre seed-shares check tells which share it opens.";
    SHARE_WRONG = 1213, "Share of the seed wrong",
        "The share is not the one of its owner and this history, or the document of shares is another.",
        "Use the share that nacre seed-shares check accepts.";
    NO_CERTIFICATE = 1214, "No certificate can be made",
        "The names that the manifest gives the workload cannot stand in a certificate.",
        "Correct the SANs of the workload in the manifest.";
    SIGNING_REQUEST = 1215, "Certificate signing request refused",
        "The request is malformed, its sender does not hold the key, or the key is that of the connection.",
        "Make a new key and a new request for it.";
    NOT_LISTED = 1216, "Workload is not in the manifest in force",
        "The policy of the caller is not listed, or the manifest does not accept its machine any more.",
        "Set a manifest that lists the workload, or remove the workload.";
    NOT_A_PEER = 1217, "Not for this Coordinator",
        "Only a Coordinator of the manifest in force gets the seed, and only if the manifest says PeerRecovery.",
        "Recover by shares, or set a manifest that permits peer recovery.";
    BUSY = 1218, "Too many requests at a time",
        "The Coordinator bounds what it does at a time so that nobody starves others.",
        "Try again in a moment.";
    NO_EVIDENCE = 1219, "No evidence about the Coordinator",
        "The firmware made no report, or a certificate or revocation list for it is missing.",
        "See the Coordinator's log; check NACRE_COLLATERAL.";
    STORE_FAILED = 1220, "Store of the history failed",
        "The store did not do what it was asked. What is in force stays in force.",
        "See the Coordinator's log: disk, permissions, Kubernetes API. Then try again.";
    COORDINATOR_INTERNAL = 1221, "Internal error of the Coordinator",
        "Something failed that must not fail.",
        "See the Coordinator's log and report it.";
    SIGNED_IN_FUTURE = 1222, "Transition signed in the future",
        "The time in the transition is a day or more after the Coordinator's. Whoever accepted it would hold every certificate and revocation list for that much older.",
        "Correct the clock of the machine that signs, or of the host.";
    HISTORY_FULL = 1223, "History full",
        "The update would make the history longer than clients take, 100 000 objects or 1 GiB, and nobody could verify the deployment any more. The metrics nacre_coordinator_history_objects and nacre_coordinator_history_bytes say how much there is; the log warns from four fifths on.",
        "Set fewer changed policies at a time. When the limit is near, begin a new deployment in another namespace: a history is never cut.";
}
