#!/usr/bin/env python3
"""Makes vectors.json: a history of three transitions, written from the description of the formats.

Uses nothing of the workspace: hashlib for hashes, the openssl program for keys and signatures. The keys
are made anew each time and thrown away, so the file changes when this is run; the tests do not depend on
any particular key.
"""
import base64
import hashlib
import json
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).parent
HASH = {"prime256v1": "sha256", "secp384r1": "sha384", "secp521r1": "sha512"}


def run(*args, data=None):
    return subprocess.run(args, input=data, capture_output=True, check=True).stdout


def sha(data):
    return hashlib.sha256(data).digest()


def frame(part):
    return len(part).to_bytes(4, "big") + part


class Key:
    def __init__(self, folder, name, curve):
        self.path = folder / name
        self.curve = curve
        run("openssl", "ecparam", "-name", curve, "-genkey", "-noout", "-out", self.path)
        self.spki = run("openssl", "ec", "-in", self.path, "-pubout", "-outform", "DER")
        self.digest = sha(self.spki)

    def sign(self, message):
        return run("openssl", "dgst", "-" + HASH[self.curve], "-sign", self.path, data=message)


def signed(domain, body, keys):
    message = frame(domain) + body
    out = body + len(keys).to_bytes(2, "big")
    for key in sorted(keys, key=lambda key: key.digest):
        out += frame(key.spki) + frame(key.sign(message))
    return out


def transition(generation, previous, manifest, policies, signed_at):
    listed = b"".join(sorted(sha(policy) for policy in policies))
    body = b"\x01" + generation.to_bytes(8, "big") + previous + sha(manifest)
    body += sha(frame(b"nacre/v1/policies") + listed) + signed_at.to_bytes(8, "big")
    assert len(body) == 113
    return body


def manifest(policies, owners, threshold):
    def entry(index):
        identity = {"Kind": "Deployment", "Name": f"app-{index}", "Namespace": "shop"}
        return {"Identity": identity, "SANs": [f"app-{index}"], **({"Role": "coordinator"} if index == 0 else {})}

    pem = (HERE / "../../manifest/testdata/rsa2048.pub").read_text()
    spki = base64.b64decode("".join(pem.splitlines()[1:-1]))
    pkcs1 = run("openssl", "rsa", "-pubin", "-inform", "DER", "-RSAPublicKey_out", "-outform", "DER", data=spki)
    value = {
        "apiVersion": "nacre.dev/v1alpha1",
        "Policies": {sha(policy).hex(): entry(index) for index, policy in enumerate(policies)},
        "ReferenceValues": {
            "snp": [
                {
                    "Platform": "metal-qemu-snp",
                    "ProductName": "Genoa",
                    "CPUs": 1,
                    "TrustedMeasurement": "ab" * 48,
                    "HostDataBinding": "enforced",
                    "MinimumTCB": {"BootloaderVersion": 9, "TEEVersion": 0, "SNPVersion": 21, "MicrocodeVersion": 72},
                }
            ]
        },
        "WorkloadOwnerKeyDigests": [owner.digest.hex() for owner in owners],
        "SeedshareOwnerPubKeys": [pkcs1.hex()],
        "UpdateThreshold": threshold,
    }
    return json.dumps(value, indent=2).encode() + b"\n"


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        curves = ["secp384r1", "prime256v1", "secp521r1"]
        owners = [Key(folder, f"owner{i}", curve) for i, curve in enumerate(curves)]
        root = Key(folder, "root", "secp384r1")
        history = Key(folder, "history", "secp384r1")
        coordinator, web, shop = b"package coordinator", b"package web", b"package shop"
        seed_shares = b'{"version": 1}'

        objects = {}
        first = manifest([coordinator, web], owners, 2)
        second = manifest([coordinator, web, shop], owners[:1], 1)
        third = manifest([coordinator, shop], owners[:1], 1)
        steps = [
            (first, [coordinator, web], owners[:1]),
            (second, [coordinator, web, shop], owners[1:]),
            (third, [coordinator, shop], owners[:1]),
        ]
        previous, hashes = bytes(32), []
        for index, (bytes_, policies, signers) in enumerate(steps):
            body = transition(index + 1, previous, bytes_, policies, 1_700_000_000 + index)
            previous = sha(body)
            hashes.append(previous.hex())
            objects[f"transitions/{previous.hex()}"] = signed(b"nacre/v1/transition", body, signers)
            objects[f"manifests/{sha(bytes_).hex()}"] = bytes_
            objects.update({f"policies/{sha(policy).hex()}": policy for policy in policies})
        genesis = bytes.fromhex(hashes[0])
        body = b"\x01" + genesis + bytes(range(32)) + sha(seed_shares) + frame(root.spki) + frame(history.spki)
        objects[f"confirmations/{hashes[0]}"] = signed(b"nacre/v1/confirmation", body, owners[:1])
        objects[f"seedshares/{sha(seed_shares).hex()}"] = seed_shares
        signature = history.sign(frame(b"nacre/v1/latest") + previous)
        objects["latest"] = b"\x01" + previous + frame(signature)
        vectors = {
            "owners": f"1:{owners[0].digest.hex()}",
            "transitions": hashes,
            "coordinator": sha(coordinator).hex(),
            "root": root.spki.hex(),
            "history": history.spki.hex(),
            "salt": bytes(range(32)).hex(),
            "objects": {key: value.hex() for key, value in sorted(objects.items())},
        }
        (HERE / "vectors.json").write_text(json.dumps(vectors, indent=1) + "\n")


main()
