"""A verifier of a tlog-tiles folder, written from the C2SP documents (tlog-tiles, signed-note, tlog-checkpoint) and RFC 6962
alone, with nothing but Python's library and OpenSSL's Ed25519. Exit 0: the folder is what its checkpoint says."""

import base64
import hashlib
import pathlib
import subprocess
import sys
import tempfile


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def node_root(hashes):
    if not hashes:
        return sha()
    if len(hashes) == 1:
        return hashes[0]
    k = 1 << (len(hashes) - 1).bit_length() - 1
    return sha(b"\x01", node_root(hashes[:k]), node_root(hashes[k:]))


def check_signature(public, message, signature):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        (path / "key").write_bytes(bytes.fromhex("302a300506032b6570032100") + public)
        (path / "message").write_bytes(message)
        (path / "signature").write_bytes(signature)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key", "-rawin", "-in", "message"]
        return subprocess.run(command + ["-sigfile", "signature"], cwd=path, capture_output=True, check=False).returncode == 0


def tile_name(n, width):
    parts = [f"{n % 1000:03}"]
    while n >= 1000:
        n //= 1000
        parts.insert(0, f"x{n % 1000:03}")
    return "/".join(parts) + ("" if width == 256 else f".p/{width}")


def fail(why):
    sys.exit(f"not verified: {why}")


folder = pathlib.Path(sys.argv[1])
name, key_id, key = (folder / "vkey").read_text().strip().split("+", 2)
key = base64.b64decode(key, validate=True)
if key[0] != 1 or sha(name.encode(), b"\n", key)[:4].hex() != key_id:
    fail("vkey")
text, signatures = (folder / "checkpoint").read_text(encoding="utf-8").rsplit("\n\n", 1)
text += "\n"
good = False
for line in signatures.splitlines():
    mark, who, blob = line.split(" ")
    blob = base64.b64decode(blob, validate=True)
    if mark == "\u2014" and who == name and blob[:4].hex() == key_id:
        good = check_signature(key[1:], text.encode(), blob[4:])
if not good:
    fail("signature")
origin, size, root = text.splitlines()[:3]
size = int(size)

level, count, below = 0, size, None
while count:
    hashes = b""
    for n in range((count + 255) // 256):
        width = min(256, count - n * 256)
        hashes += (folder / "tile" / str(level) / tile_name(n, width)).read_bytes()
    hashes = [hashes[i : i + 32] for i in range(0, len(hashes), 32)]
    if len(hashes) != count:
        fail(f"level {level} has {len(hashes)} hashes instead of {count}")
    if level == 0:
        leaves = hashes
    elif hashes != [node_root(below[i * 256 : i * 256 + 256]) for i in range(count)]:
        fail(f"level {level} is not the roots of level {level - 1}")
    below, count, level = hashes, count // 256, level + 1
if size and node_root(leaves) != base64.b64decode(root, validate=True):
    fail("root")
index = 0
for n in range((size + 255) // 256):
    width = min(256, size - n * 256)
    bundle = (folder / "tile" / "entries" / tile_name(n, width)).read_bytes()
    while bundle:
        length = int.from_bytes(bundle[:2], "big")
        entry, bundle = bundle[2 : 2 + length], bundle[2 + length :]
        if len(entry) != length or sha(b"\x00", entry) != leaves[index]:
            fail(f"entry {index}")
        index += 1
if index != size:
    fail(f"{index} entries instead of {size}")
print(f"verified: {origin}, {size} entries")
