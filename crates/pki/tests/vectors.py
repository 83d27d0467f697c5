#!/usr/bin/env python3
"""Writes vectors.txt: the key derivation, A.2.1 of FIPS 186-5 and the shares, by other means than ours."""
import hashlib, hmac, struct

P = 2**384 - 2**128 - 2**96 + 2**32 - 1
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
G = (0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
     0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F)
A = P - 3


def add(p, q):
    if p is None: return q
    if q is None: return p
    if p[0] == q[0] and (p[1] + q[1]) % P == 0: return None
    if p == q: s = (3 * p[0] * p[0] + A) * pow(2 * p[1], -1, P)
    else: s = (q[1] - p[1]) * pow(q[0] - p[0], -1, P)
    x = (s * s - p[0] - q[0]) % P
    return (x, (s * (p[0] - x) - p[1]) % P)


def times(k, p):
    out = None
    while k:
        if k & 1: out = add(out, p)
        p, k = add(p, p), k >> 1
    return out


def scalar(data):
    return int.from_bytes(data, "big") % (N - 1) + 1


def spki(d):
    x, y = times(d, G)
    head = bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004")
    return head + x.to_bytes(48, "big") + y.to_bytes(48, "big")


def hkdf(seed, salt, purpose, ident, length):
    prk = hmac.new(salt, seed, hashlib.sha256).digest()
    info = b"nacre/v1/" + purpose + struct.pack(">H", len(ident)) + ident
    out, block, count = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([count]), hashlib.sha256).digest()
        out, count = out + block, count + 1
    return out[:length]


# GF(256) by logarithms to the base 3, not by shifts.
EXP = [1]
while len(EXP) < 255:
    x = EXP[-1]
    d = x << 1 ^ (0x11b if x & 0x80 else 0)
    EXP.append(d ^ x)
LOG = {v: k for k, v in enumerate(EXP)}


def mul(a, b):
    return 0 if a == 0 or b == 0 else EXP[(LOG[a] + LOG[b]) % 255]


def share(coefficients, x):
    out = []
    for column in zip(*coefficients):
        y, power = 0, 1
        for c in column:
            y, power = y ^ mul(c, power), mul(power, x)
        out.append(y)
    return bytes(out)


def line(name, data):
    print(name, data.hex())


order = (N - 1).to_bytes(56, "big")
for name, data in [("zero", bytes(56)), ("ones", b"\xff" * 56), ("modulus", order),
                   ("modulus less one", order[:-1] + b"\x71"),
                   ("counted", bytes((i * 37 + 11) % 256 for i in range(56)))]:
    line("scalar " + name, scalar(data).to_bytes(48, "big"))
seed, salt = bytes(range(32)), bytes(0xa0 + i for i in range(32))
for purpose in [b"root-ca-key", b"history-key"]:
    line(purpose.decode(), spki(scalar(hkdf(seed, salt, purpose, b"", 56))))
for ident in ["", "shop/web", "0_shop/web"]:
    line('workload-secret "%s"' % ident, hkdf(seed, salt, b"workload-secret", ident.encode(), 32))
polynomial = [seed, bytes(0x40 + i for i in range(32)), bytes(0xff - 3 * i for i in range(32))]
for x in [1, 2, 3, 7, 255]:
    line("share %d" % x, share(polynomial, x))
