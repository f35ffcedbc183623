"""What is in an image: the files of all its layers, so that builders that made something else are found out."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from typing import Dict

# What a container's runtime puts into the root of a step, and builders keep or not.
RUNTIME = re.compile(r"(dev|proc|sys|run|var/run)/|etc/(hosts|hostname|resolv\.conf|mtab)$")
LINE = re.compile(rb"(\S)\S+ +\S+ +(\d+|\d+,\d+) +\S+ +\S+ (.*)")
UNPACK = {b"\x1f\x8b": "gzip", b"\x28\xb5": "zstd"}
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"


class Different(Exception):
    """A builder made something else than the first, or nothing that can be read."""


def files(path, scratch) -> Dict[str, int]:
    """-> the size of each file, and -1 for what has none. Folders do not count: builders differ in whether a parent of what
    a step made is in its layer, too."""
    try:
        return {name: size for name, size in all_files(path, scratch).items() if not RUNTIME.match(name)}
    except (KeyError, ValueError, OSError, tarfile.TarError) as error:
        raise Different("its archive cannot be read: %s" % error) from error


def all_files(path, scratch):
    found: Dict[str, int] = {}
    with blobs(path) as (read, copy):
        for layer in layers(read):
            with tempfile.TemporaryFile(dir=scratch) as listing:
                list_layer(copy, layer, listing)
                listing.seek(0)
                apply(found, listing)
    return found


def megabytes(path):
    if not os.path.isdir(path):
        return os.path.getsize(path) / 1e6
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names) / 1e6


def difference(ours, theirs, sizes=True):
    """-> a sentence, or nothing if both have the same files. -1 is a link's size: a builder may make it or copy the file."""
    more, less = sorted(theirs.keys() - ours.keys()), sorted(ours.keys() - theirs.keys())
    both = ours.keys() & theirs.keys() if sizes else ()
    other = sorted(name for name in both if -1 not in (ours[name], theirs[name]) and ours[name] != theirs[name])
    said = ["%d %s (%s)" % (len(names), what, ", ".join(names[:3]) + (", ..." if len(names) > 3 else ""))
            for what, names in (("files more", more), ("files fewer", less), ("files of another size", other)) if names]
    return "it has %d files, %s" % (len(theirs), ", ".join(said)) if said else ""


@contextlib.contextmanager
def blobs(path):
    """-> what gives a member's bytes, and what copies one to a stream"""
    if os.path.isdir(path):
        def opened(name):
            return open(os.path.join(path, name), "rb")
        archive = None
    else:
        archive = tarfile.open(path)
        def opened(name):
            member = archive.extractfile(name)
            if member is None:
                raise ValueError("`%s` is no file of the archive" % name)
            return member

    def read(name):
        with opened(name) as file:
            return file.read()

    def copy(name, sink):
        with opened(name) as file:
            shutil.copyfileobj(file, sink, 1 << 20)

    try:
        yield read, copy
    finally:
        if archive:
            archive.close()


def layers(read):
    """-> the names of the members that are layers, the lowest first"""
    def document(descriptor):
        return json.loads(read(blob(descriptor)))

    def blob(descriptor):
        return "blobs/" + descriptor["digest"].replace(":", "/")

    try:
        index = json.loads(read("index.json"))
    except KeyError:
        # docker's archive.
        return json.loads(read("manifest.json"))[0]["Layers"]
    while "manifests" in index:
        index = document(index["manifests"][0])
    return [blob(layer) for layer in index["layers"]]


def list_layer(copy, layer, listing):
    """Writes `tar -tv` of a layer."""
    head = Head()
    try:
        copy(layer, head)
    except StopIteration:
        pass
    codec = UNPACK.get(head.data[:2])
    unpack = subprocess.Popen([codec or "cat", *(["-dc"] if codec else [])], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    tar = subprocess.Popen(["tar", "--list", "--verbose", "--numeric-owner", "--quoting-style=literal", "--file", "-"],
                           stdin=unpack.stdout, stdout=listing, env={**os.environ, "LC_ALL": "C"})
    unpack.stdout.close()
    with contextlib.suppress(BrokenPipeError), unpack.stdin as sink:
        copy(layer, sink)
    failed = [process.args[0] for process in (unpack, tar) if process.wait() != 0]
    if failed:
        raise ValueError("%s does not read the layer %s" % (failed[0], layer))


class Head:
    """A stream that wants no more than a beginning."""

    def __init__(self):
        self.data = b""

    def write(self, data):
        self.data += data[:16]
        raise StopIteration


def apply(found, listing):
    """Puts what `tar -tv` says of a layer over the files below."""
    added, removed, emptied = {}, [], []
    for line in listing:
        parsed = LINE.match(line)
        if not parsed:
            raise ValueError("tar says `%r`" % line)
        kind, size, name = parsed[1], parsed[2], os.fsdecode(parsed[3])
        if kind == b"l":
            name = name.split(" -> ")[0]
        elif kind == b"h":
            name = name.split(" link to ")[0]
        name = name.removeprefix("./").strip("/")
        folder, base = os.path.split(name)
        if base == OPAQUE:
            emptied.append(folder)
        elif base.startswith(WHITEOUT):
            removed.append(os.path.join(folder, base[len(WHITEOUT):]))
        elif kind != b"d" and name:
            added[name] = int(size) if kind == b"-" else -1
    for gone in removed + emptied:
        found.pop(gone, None)
        for name in [name for name in found if name.startswith(gone + "/")]:
            del found[name]
    found.update(added)
