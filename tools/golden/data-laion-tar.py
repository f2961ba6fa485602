"""Tar archives of each dialect, and what Python's tarfile and webdataset's grouping rule make of them.

Usage: python data-laion-tar.py OUT [DATA]
OUT gets {gnu,pax,ustar}.tar, and expected.json with their members and samples. DATA is the folder of the real test
data; with it expected.json also describes its shards (names and hashes only).

The grouping is that of github.com/webdataset/webdataset at e0953f9, tariterators.py, written anew: this file and
the TypeScript share nothing but the rule.
"""
import glob
import hashlib
import io
import json
import os
import random
import re
import sys
import tarfile

FORMATS = {"gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT, "ustar": tarfile.USTAR_FORMAT}
NAME = re.compile(r"^((?:.*/|)[^.]+)[.]([^/]*)$")


def write(path, dialect):
    random.seed(0)
    with tarfile.open(path, "w", format=FORMATS[dialect]) as tar:

        def add(name, size=0, kind=tarfile.REGTYPE, **more):
            info = tarfile.TarInfo(name)
            info.type = kind
            info.size = size
            for key, value in more.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(random.randbytes(size)) if size else None)

        add("__index__", 20)
        add("__meta__/info.json", 30)
        add("photos", kind=tarfile.DIRTYPE)
        add("photos/0001.JPG", 511)
        add("photos/0001.cls", 512)
        add("photos/0001.seg.PNG", 513)
        add("photos/0002.jpg", 1)
        add("photos/0002.txt", 0)
        add("photos/link.jpg", kind=tarfile.SYMTYPE, linkname="0001.JPG")
        add("photos/hard.jpg", kind=tarfile.LNKTYPE, linkname="photos/0001.JPG")
        add("photos/pipe", kind=tarfile.FIFOTYPE)
        add("photos/without-extension", 7)
        add("photos/.hidden.jpg", 9)
        add("v1.0/.hidden.jpg", 9)
        add(".hidden.jpg", 9)
        add("v1.0/0003.jpg", 11)
        add("photos/__kept__/0004.jpg", 12)
        add("photos/0002.jpg", 13)  # the key again, after others: a sample of its own
        add("d" * 90 + "/" + "e" * 60 + ".jpg", 100)  # the prefix field of ustar, a long name of GNU
        if dialect != "ustar":
            add("f/" * 60 + "g" * 180 + ".jpg", 1025)
            add("k" * 120 + ".jpg", kind=tarfile.SYMTYPE, linkname="m" * 150)
            add("größe/日本語.jpg", 10)
            add("owner.jpg", 10, uid=2**40, mtime=2**35)  # numbers that need base 256, or a pax record
        add("last.jpg", 3)


def members(tar):
    for info in tar:
        data = tar.extractfile(info).read() if info.isreg() else b""
        yield info, data


def describe(path):
    listed, samples, current = [], [], None
    with tarfile.open(path, "r:*") as tar:
        for info, data in members(tar):
            kind = "file" if info.isreg() else "directory" if info.isdir() else "other"
            digest = hashlib.sha256(data).hexdigest()[:16]
            listed.append([info.name, kind, info.offset_data if info.isreg() else 0, len(data), digest])
            if not info.isreg() or re.match(r"__[^/]*__($|/)", info.name):
                continue
            match = NAME.match(info.name)
            if not match:
                continue
            key, extension = match.group(1), match.group(2).lower()
            if current is None or current["key"] != key:
                current = {"key": key, "files": {}}
                samples.append(current)
            assert extension not in current["files"], info.name
            current["files"][extension] = digest
    return listed, samples


def digest(value):
    return hashlib.sha256(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()[:16]


out = sys.argv[1]
os.makedirs(out, exist_ok=True)
expected = {"archives": {}, "shards": {}}
for dialect in FORMATS:
    path = os.path.join(out, dialect + ".tar")
    write(path, dialect)
    listed, samples = describe(path)
    expected["archives"][dialect] = {"members": listed, "samples": samples}
if len(sys.argv) > 2:
    data = sys.argv[2]
    for pattern in ["webdataset/*.t*", "fixtures/wds_tars/*.t*", "flowers/*.tar", "tiny-imagenet-64.tar"]:
        for path in sorted(glob.glob(os.path.join(data, pattern))):
            listed, samples = describe(path)
            expected["shards"][os.path.relpath(path, data)] = {
                "members": len(listed),
                "samples": len(samples),
                "membersHash": digest([[m[0], m[1], m[3], m[4]] for m in listed]),
                "samplesHash": digest([[s["key"], sorted(s["files"].items())] for s in samples]),
            }
with open(os.path.join(out, "expected.json"), "w") as file:
    json.dump(expected, file, indent=1, ensure_ascii=False)
    file.write("\n")
