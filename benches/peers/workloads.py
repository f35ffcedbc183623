"""What the tools build: contexts made from seeds, the same on every machine, without a download."""

import gzip
import hashlib
import itertools
import json
import multiprocessing
import os
import random
import shutil
import subprocess

BUSYBOX = "/bin/busybox"
BASE_NAME = "peers-base"
RUN_STEPS = 20
STAGES = 4
# Of the trees at the scale 1. Of the first, 83,830 files are some 750 MB.
NODE_FILES = 83_830
SOURCE_FILES = 60_000
SOURCE_DEPTH = 14
LARGE_MIB = 2000
TINY_FOLDERS = 1000
# What a stage computes takes about one second of one CPU.
STAGE_ROUNDS = 180
# Files of a seed have one time, long past, so that layers are equal on every machine.
MTIME = 1_700_000_000
# The line that a change adds begins so. It is as long in each run, so that all builders get files of the same sizes.
CHANGE = b"// run "

# What web projects depend on: 91,908 files, 780 MB.
NPM_DAY = "2026-06-01"
NPM_PACKAGES = (
    "webpack@5 next@15 vite@5 typescript@5 eslint@8 jest@29 storybook@8 @babel/core@7 @babel/preset-env@7 core-js@3 react@18 "
    "react-dom@18 @mui/material@5 @mui/icons-material@5 @emotion/react@11 @emotion/styled@11 antd@5 vue@3 @angular/core@17 "
    "@angular/common@17 @angular/compiler@17 lodash@4 rxjs@7 date-fns@3 moment@2 aws-sdk@2 express@4").split()

COPY_ALL = "FROM scratch\nCOPY . /app\n"

GLUE = [" ", ".", "(", ", ", " = ", ");\n  ", ";\n", ": ", "', '", " => ", "\n    ", "{\n  ", "}\n", "_", "/"]
LETTERS = "eeeeaaaiiooutttnnnrrrsssllddcchmpgfbvkwyjxqz"


class Text:
    """Bytes that compress about as source code does (gzip: a fifth)."""

    def __init__(self):
        rng = random.Random(1)
        self.words = ["".join(rng.choices(LETTERS, k=min(14, max(2, int(rng.gauss(6.5, 2.6)))))) for _ in range(3000)]
        weights = [1 / (rank + 3) for rank in range(len(self.words))]
        self.phrases = [
            "".join(word + rng.choice(GLUE) for word in rng.choices(self.words, weights, k=rng.choice([1, 1, 2, 2, 3, 4, 6])))
            .encode() for _ in range(6000)]
        self.weights = list(itertools.accumulate(1 / (rank + 2) ** 1.15 for rank in range(len(self.phrases))))

    def make(self, rng, size):
        made = b""
        while len(made) < size:
            made += b"".join(rng.choices(self.phrases, cum_weights=self.weights, k=(size - len(made)) // 20 + 1))
        return made[:size]


def package(arguments):
    """One package: a manifest, a licence, and most files in a few deep folders of small modules."""
    root, number, files = arguments
    rng = random.Random(number)
    text = package.text
    name = "%s-%s" % (rng.choice(text.words), rng.choice(text.words))
    scope = "@%s/" % rng.choice(text.words) if rng.random() < 0.3 else ""
    folder = os.path.join(root, "%s%s-%d" % (scope, name, number))
    folders = [folder]
    for index in range(files):
        if index % 12 == 0:
            parent = rng.choice(folders)
            parent = parent if parent.count("/") - root.count("/") < 7 else folder
            folders.append(os.path.join(parent, rng.choice(["lib", "dist", "esm", "cjs", "src", "types", rng.choice(text.words)])))
            os.makedirs(folders[-1], exist_ok=True)
        if index < 3:
            path, size = os.path.join(folder, ["package.json", "LICENSE", "README.md"][index]), rng.randint(900, 4000)
        else:
            suffix = rng.choice([".js", ".js", ".js", ".mjs", ".d.ts", ".d.ts", ".js.map", ".json"])
            path = os.path.join(rng.choice(folders[-3:]), "%s-%d%s" % (rng.choice(text.words), index, suffix))
            # The median is two kilobytes; a few files have megabytes.
            size = min(int(rng.lognormvariate(7.69, 1.67)), 4 << 20)
        with open(path, "wb") as file:
            file.write(text.make(rng, size))
        os.utime(path, (MTIME, MTIME))


def node_tree(context, scale):
    """A project with its dependencies: the size of a large `node_modules`."""
    rng, jobs, left = random.Random(2), [], round(NODE_FILES * scale)
    while left:
        count = min(left, max(3, int(rng.lognormvariate(3.6, 1.2))))
        jobs.append((os.path.join(context, "node_modules"), len(jobs), count))
        left -= count
    packages(context, jobs)
    return COPY_ALL


def npm_tree(context, _scale):
    """The dependencies of real projects, as the registry had them on one day, so that they are the same from day to day."""
    with open(os.path.join(context, "package.json"), "w") as file:
        json.dump({"name": "app", "private": True}, file)
    options = ["--before", NPM_DAY, "--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund", "--loglevel", "error"]
    subprocess.run(["npm", "install", *options, *NPM_PACKAGES], cwd=context, check=True, stdout=subprocess.DEVNULL)
    return COPY_ALL


def source_tree(context, scale):
    """A checkout of sources whose folders lie deep in one another."""
    rng, jobs, left, folders = random.Random(3), [], round(SOURCE_FILES * scale), [os.path.join(context, "src")]
    while left:
        count = min(left, max(3, int(rng.lognormvariate(3, 1))))
        # Lately made folders are chosen more often, so that the tree is deep rather than wide.
        parent = folders[-1 - int(rng.triangular(0, min(len(folders), 60), 0))]
        jobs.append((parent, len(jobs), count))
        if parent.count("/") - context.count("/") < SOURCE_DEPTH:
            folders.append(os.path.join(parent, "part%d" % len(jobs)))
        left -= count
    packages(context, jobs)
    return COPY_ALL


def packages(context, jobs):
    package.text = Text()
    for root, _, _ in jobs:
        os.makedirs(root, exist_ok=True)
    with multiprocessing.get_context("fork").Pool() as pool:
        pool.map(package, jobs, chunksize=8)
    age_folders(context)


def age_folders(context):
    for folder, _, _ in os.walk(context, topdown=False):
        os.utime(folder, (MTIME, MTIME))


def large_file(context, scale):
    """One file that no codec makes smaller."""
    rng, path = random.Random(4), os.path.join(context, "random.bin")
    with open(path, "wb") as file:
        for _ in range(round(LARGE_MIB * scale)):
            file.write(rng.randbytes(1 << 20))
    os.utime(path, (MTIME, MTIME))
    return COPY_ALL


def tiny_files(context, scale, folders=TINY_FOLDERS):
    """As many files as a context is likely ever to have, a thousand in each folder, with a few bytes each."""
    folders = [os.path.join(context, "%03d" % number) for number in range(max(1, round(folders * scale)))]
    with multiprocessing.get_context("fork").Pool() as pool:
        pool.map(tiny_folder, folders, chunksize=8)
    age_folders(context)
    return COPY_ALL


def tiny_folder(folder):
    os.mkdir(folder)
    for number in range(1000):
        path = os.path.join(folder, "%03d" % number)
        with open(path, "w") as file:
            file.write("%s/%d\n" % (os.path.basename(folder), number))
        os.utime(path, (MTIME, MTIME))


def change_file(position):
    """Returns what changes a file at that part of the tree, 0 the first and 1 the last, differently for each run."""
    def change(context, run):
        names = sorted(os.listdir(os.path.join(context, "node_modules")))
        chosen = names[round(position * (len(names) - 1))]
        for folder, folders, files in os.walk(os.path.join(context, "node_modules", chosen)):
            folders.sort()
            if files:
                path = os.path.join(folder, sorted(files)[0])
                with open(path, "rb") as file:
                    before = file.read().split(CHANGE)[0]
                with open(path, "wb") as file:
                    file.write(before + CHANGE + run.encode() + b"\n")
                return
    return change


def add_busybox(context):
    for folder in ("bin", "tmp"):
        os.makedirs(os.path.join(context, "root", folder), exist_ok=True)
    # Called as `sh`, busybox is one. No SHELL instruction: buildah ignores it for OCI images.
    shutil.copy(BUSYBOX, os.path.join(context, "root/bin/sh"))


def steps(_context, _scale, salt=""):
    """Many small RUN steps on a Debian base: what starting, diffing and committing a step costs."""
    return "FROM %s\n" % BASE_NAME + "".join("RUN echo %d %s > /f%d\n" % (n, salt, n) for n in range(RUN_STEPS))


def change_steps(context, run):
    """The same base, and steps that were never run."""
    with open(os.path.join(context, "Dockerfile"), "w") as file:
        file.write(steps(context, 0, run))


def stages(context, _scale):
    """Independent stages of one CPU second each: what is lost by not running them at the same time."""
    add_busybox(context)
    lines = ["FROM scratch AS s%d\nCOPY root /\nRUN %s\n" % (number, work)
             for number, work in enumerate(stage_commands("/tmp/"))]
    lines.append("FROM scratch\n" + "".join("COPY --from=s%d /tmp/%d /\n" % (n, n) for n in range(STAGES)))
    return "".join(lines)


def stage_commands(folder):
    work = "i=0; while [ $i -lt %d ]; do i=$((i+1)); sh -c 'j=0; while [ $j -lt 8000 ]; do j=$((j+1)); done'; done" % STAGE_ROUNDS
    return ["echo %d; %s; echo %d > %s%d" % (number, work, number, folder, number) for number in range(STAGES)]


def apt(_context, _scale):
    """Packages of a distribution: what is lost beside a long command that writes thousands of files. It takes its own time,
    since that is the mirror's and not a builder's. The mirror may be one that shows an older day."""
    options = "-o Acquire::Check-Valid-Until=false -o Acquire::Check-Date=false"
    return ("FROM %s\nRUN set -e; a=$(date +%%s%%N); apt-get %s update; DEBIAN_FRONTEND=noninteractive apt-get %s install -y "
            "--no-install-recommends git python3; b=$(date +%%s%%N); echo commands-took $(((b-a)/1000000)) ms\n"
            % (BASE_NAME, options, options))


def one_byte(context, _scale):
    """A byte on a Debian base: what is done with a base that nobody looks into."""
    change_byte(context, "")
    return "FROM %s\nCOPY byte /byte\n" % BASE_NAME


def change_byte(context, _run):
    path = os.path.join(context, "byte")
    before = 0
    if os.path.exists(path):
        with open(path, "rb") as file:
            before = file.read(1)[0]
    with open(path, "wb") as file:
        file.write(bytes([(before + 1) % 256]))


def uses_base(context):
    with open(os.path.join(context, "Dockerfile")) as file:
        return file.readline() == "FROM %s\n" % BASE_NAME


def base_layout(layout, tarball):
    """Makes an OCI layout with one image of one layer, `BASE_NAME`, of a root file system in a tar."""
    blobs = os.path.join(layout, "blobs/sha256")
    os.makedirs(blobs)

    def put(data):
        name = hashlib.sha256(data).hexdigest()
        with open(os.path.join(blobs, name), "wb") as file:
            file.write(data)
        return {"digest": "sha256:" + name, "size": len(data)}

    def sum_of(path):
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    # Piece by piece: what this process had in memory would count as memory of the processes that it starts.
    blob = os.path.join(blobs, "new")
    with open(tarball, "rb") as tar, open(blob, "wb") as file, gzip.GzipFile("", "wb", 6, file, 0) as packed:
        shutil.copyfileobj(tar, packed)
    digest, size, diff_id = sum_of(blob), os.path.getsize(blob), sum_of(tarball)
    os.rename(blob, os.path.join(blobs, digest))
    kind = "application/vnd.oci.image."
    layer = {"mediaType": kind + "layer.v1.tar+gzip", "digest": "sha256:" + digest, "size": size}
    config = {"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]},
              "history": [{"created_by": "a root file system"}],
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + diff_id]}}
    config = {"mediaType": kind + "config.v1+json", **put(json.dumps(config).encode())}
    manifest = {"schemaVersion": 2, "mediaType": kind + "manifest.v1+json", "config": config, "layers": [layer]}
    manifest = {"mediaType": kind + "manifest.v1+json", **put(json.dumps(manifest).encode()),
                "annotations": {"org.opencontainers.image.ref.name": BASE_NAME}}
    write_index(layout, [manifest])


def base_digest(layout):
    with open(os.path.join(layout, "index.json")) as file:
        return json.load(file)["manifests"][0]["digest"]


def empty_layout(layout):
    """A layout without images, for contexts that need none."""
    os.makedirs(os.path.join(layout, "blobs/sha256"))
    write_index(layout, [])


def write_index(layout, manifests):
    with open(os.path.join(layout, "index.json"), "w") as file:
        json.dump({"schemaVersion": 2, "manifests": manifests}, file)
    with open(os.path.join(layout, "oci-layout"), "w") as file:
        json.dump({"imageLayoutVersion": "1.0.0"}, file)
