"""Recomputes vectors.txt independently of the Rust code: python3 vectors.py > vectors.txt"""
import hashlib
import struct


def framed(*parts):
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def connection(role):
    return hashlib.sha512(
        framed(b"nacre/v1/atls")
        + bytes([role])
        + framed(b"server key", b"client key", b"\1" * 32, b"\2" * 32, b"\3" * 32)
    ).hexdigest()


print("server", connection(1))
print("workload", connection(2))
print("peer", connection(3))
print(
    "http",
    hashlib.sha512(
        framed(b"nacre/v1/http-attest", b"\1" * 32, b"\2" * 32, b"\3" * 32, b"root", b"mesh")
    ).hexdigest(),
)
print("owner", framed(b"nacre/v1/owner-request", b"\3" * 32, b"SetManifest", b"\4" * 32).hex())
