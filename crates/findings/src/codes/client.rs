//! NCR13xx: setting, verifying and recovering at a Coordinator.

codes! {
    1300;
    UNREACHABLE = 1301, "Coordinator unreachable",
        "No connection to the Coordinator could be made, or it ended before the answer was complete.",
        "Check the address (`-c host:port`, user port 1313), the Service or port-forwarder in front of it, and that its pod runs; then run the command again: a lost answer loses nothing.";
    NOT_ATTESTED = 1302, "Coordinator not attested",
        "The evidence of the Coordinator does not meet the reference values or is no Coordinator of the manifest. Nothing was sent to it.",
        "Compare the values in the message. If the Coordinator was upgraded, use the manifest that lists its policy; if they cannot be explained, somebody else may be answering.";
    REFUSED = 1303, "Refused by the Coordinator",
        "The Coordinator did not do what was asked, for the reason in the message.",
        "Do what the message says.";
    SEALED = 1304, "Coordinator waits for recovery",
        "The Coordinator was restarted and does not have its seed: it can prove what it is, but it issues nothing and cannot vouch for a manifest.",
        "Run `nacre recover` with the key of a seed-share owner.";
    EMPTY = 1305, "No manifest is set",
        "The Coordinator has no history: no manifest was ever set at this instance, or its storage was emptied.",
        "Run `nacre set` with the manifest. If one had been set, its storage is gone: find out why first.";
    PROTOCOL = 1306, "Answer is not as agreed",
        "The Coordinator's answer is incomplete, too large or out of order. Nothing of it was used.",
        "Run the command again; if it repeats, the versions of `nacre` and of the Coordinator do not fit.";
    STATE_NOT_PROVEN = 1307, "State is not proven",
        "The evidence does not cover the state that came with it: transition, manifest, root CA, mesh CA or the nonce of this run differ.",
        "Do not use the answer; it was put together by somebody else than the attested Coordinator.";
    CERTIFICATES = 1308, "CA certificates do not belong together",
        "Root CA, intermediate CA and mesh CA do not have the keys and signatures they should have.",
        "Do not use the answer; report it with the message.";
    MANIFEST_DIFFERS = 1309, "Another manifest is in force",
        "The manifest in force at the Coordinator is not the one given. The difference in meaning is shown.",
        "Review the difference. If it is what you want, take the manifest from its owner (`verify --manifest`); if not, do not use the deployment.";
    ROOT_CHANGED = 1310, "Root CA is not the one of earlier runs",
        "The keys of the deployment differ from those that were pinned: this is another deployment, or an impostor with a seed of its own.",
        "If the deployment was set up anew on purpose, remove the pin file named in the message and verify again.";
    ROLLED_BACK = 1311, "History is older than one seen before",
        "The Coordinator shows a history that ends before the newest transition seen by earlier runs: its storage was set back.",
        "Do not use the deployment before its storage is explained; recover from an untouched store or a peer.";
    FORKED = 1312, "History was split",
        "Another transition stands where one was seen before: different people are shown different histories.",
        "Do not use the deployment; compare histories with the other owners and replicas.";
    PIN_UNUSABLE = 1313, "Pin cannot be used",
        "The file in which earlier runs wrote down what they saw cannot be read.",
        "Restore it from version control; remove it only if you accept to trust the Coordinator as on the first run.";
    RULES_UNKNOWN = 1314, "Policy with unknown rules",
        "A policy does not consist of rules that this program knows and plain data, so nothing can be said about what the host may do in that pod. Of a Coordinator's policy, nobody can say either which owners are measured into it.",
        "Use the program version the policy was made with, or review the policy and accept it with `--accept-policy HASH`. For the Coordinator's own policy the owners come from the pin of an earlier run, or from `--owners`, which names the value of NACRE_OWNERS in it.";
    PROFILE_DIFFERS = 1315, "Policy is weaker than the manifest says",
        "The profile in the policy is not the one of its manifest entry.",
        "Generate the manifest again from the resources that are deployed.";
    HISTORY_NOT_ACCEPTED = 1316, "History has entries nobody accepted",
        "The history holds manifests that no earlier run accepted. What changed in each is shown.",
        "Review the changes, then run `nacre verify --accept-history`.";
    UNAUTHENTICATED = 1317, "Coordinator instance not authenticated",
        "No owners are measured into the Coordinator, so anybody could have set the first manifest at an instance of their own. Evidence proves the software, not whose instance it is.",
        "Render the Coordinator with owners (`nacre init` makes their keys) and set the manifest anew.";
    HOST_DATA_UNBOUND = 1318, "Guest does not enforce its policy",
        "Guests of this platform also run with another policy than the one in HOST_DATA: the report tells them apart, the guest does not refuse.",
        "Use a platform whose guest refuses, or accept that availability of evidence is all that protects.";
    WEAKENING = 1319, "Manifest switches a check off",
        "A field of the manifest takes a protection away; the message says which and what follows.",
        "Remove the field if it is not needed.";
    REPORTS_SHARED = 1320, "Every container can ask for reports",
        "On this platform each container of a pod reaches the source of reports, so any of them can act as the whole pod towards the Coordinator.",
        "Put containers that do not trust each other into pods of their own.";
    NOT_IN_FORCE = 1321, "Manifest is not in force yet",
        "The signature was taken, but more owners have to approve.",
        "The other owners run `nacre set` with the same manifest; `--allow-pending` makes this exit code 0.";
    UNCONFIRMED = 1322, "Not all Coordinators confirmed the manifest",
        "Fewer Coordinators than the manifest's CoordinatorReplicas proved that they are at the new head.",
        "Check the replicas named in the message, then run `nacre verify` against each; `--allow-unconfirmed` makes this exit code 0.";
    NOT_AN_OWNER = 1323, "Key is not an owner's",
        "The key given is not among the owners who decide about this manifest.",
        "Name the key of an owner of the manifest in force with `--workload-owner-key`.";
    POLICY_MISSING = 1324, "Policy of the manifest is not among the resources",
        "The Coordinator needs the text of a policy that none of the given resources carries.",
        "Give all resources that the manifest was made from.";
    POLICY_EXTRA = 1325, "Policy of a resource is not in the manifest",
        "A resource carries a policy that the manifest does not list: its pods would get no certificate.",
        "Run `nacre generate` again, or give the manifest that belongs to the resources.";
    SHARE_UNUSABLE = 1326, "Share of the seed cannot be used",
        "The seed-share document or the key does not give a share of this deployment's seed.",
        "Name the document of this deployment with `--seed` and the key of one of its owners with `--seedshare-owner-key`; `nacre seed-shares check` tells which fit.";
    BUNDLE_UNUSABLE = 1327, "Bundle cannot be used",
        "The file is not a bundle of `nacre verify --bundle`, or it is damaged.",
        "Ask for the file again.";
    HEAD_MOVED = 1328, "Somebody else updated the manifest",
        "The manifest in force is not the one that this update was made against.",
        "Run `nacre verify`, review what changed, merge, and set again.";
    OFFER_WRONG = 1329, "Coordinator offers something else than was agreed",
        "What the Coordinator asks owners to confirm does not fit the manifest, or is not what it uses afterwards.",
        "Do not use the Coordinator; report it with the message.";
    NOT_CURRENT = 1330, "Reference values cannot be used",
        "A reference value of the manifest is incomplete, so nothing could be compared.",
        "Fill in what the message names and generate again.";
    APPROVAL_UNUSABLE = 1331, "Signature file cannot be used",
        "A detached signature is not one over this transition by the key named.",
        "Sign the file that `nacre sign --prepare` wrote, and name the public key with `--signer`.";
    ANOTHER_DEPLOYMENT = 1332, "Workspace belongs to another deployment",
        "The workspace is pinned to a deployment, and this Coordinator is not part of it.",
        "Use a workspace of its own for each deployment, or remove the pin file if the old one is gone for good.";
    OPEN_ITEMS = 1333, "Left to the host",
        "The policy leaves these values to the host.",
        "Read what each means; close what the workload does not need.";
    ADDRESS = 1334, "Coordinator is not named",
        "No address was given and none could be found.",
        "Name it with `-c host:1313`.";
    SIMULATED = 1335, "Evidence is simulated",
        "The manifest names a test root: the evidence is made by software and protects nothing.",
        "For production, generate the manifest for a real platform.";
    ANY_CHIP = 1336, "Any chip of a weak product may sign",
        "The keys of a Milan chip can be taken out by its owner in software, who can then sign any report for it, and the manifest does not say which chips are the deployment's.",
        "List the machines in `AllowedChipIDs` of the reference values, in hands you trust; `--require-chip-allowlist` refuses every manifest that lists none.";
    ADVISORIES = 1337, "Firmware does not meet known advisories",
        "The firmware is as new as the manifest asks for, and older than what AMD's advisories ask for.",
        "Update the firmware of the machines, then raise the minimum in the reference values.";
    FIRMWARE_PROVISIONAL = 1338, "Firmware is provisional",
        "The firmware that runs is newer than the committed one, so the host can go back to the latter without a reset of the chip's keys.",
        "Ask whoever runs the machines to commit the firmware; the minimum holds for what was reported either way.";
    PROVIDER_KEY = 1339, "A cloud provider vouches for the machine",
        "The report is signed with a provider's key (VLEK): it does not name the chip.",
        "Use reference values with `SigningKey` VCEK where the chip has to be known.";
    PLATFORM_BITS = 1340, "Platform says something without a known meaning",
        "The report has bits in PLATFORM_INFO that have no meaning in AMD's specification.",
        "`StrictPlatformInfo` in the reference values refuses them; every public Turin report has bit 6.";
    REVOCATION_UNKNOWN = 1341, "No revocation list",
        "No revocation list came with the evidence, so that the keys are not revoked is unknown.",
        "Let the Coordinator reach a source of collateral: `NACRE_COLLATERAL`.";
}
