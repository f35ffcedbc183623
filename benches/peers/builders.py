"""How each builder is asked for the same: a context and perhaps a base in, an archive on disk out.

A builder is a class with a name. `missing` says why it cannot work here, if it cannot. `begin` and `end` stand around a round,
which is a cold build and what follows on the same store; `prepare` comes before each build of it. None of the three is timed;
what `command` returns is. `CannotRun` is raised for what a builder cannot do.
"""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from typing import NamedTuple, Optional

import workloads

BUILDAH_LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OTHER = "KILN_PEER_"
# What kiln is called where it may not use every CPU.
ON = "kiln on"
# How long a daemon may take until it answers.
START_SECONDS = 60


class CannotRun(Exception):
    """Why a builder has no numbers for a workload."""


class Job(NamedTuple):
    """What a builder is asked to build."""
    context: str
    base: str
    codec: tuple
    # A folder of the builder's own, for one round.
    state: str
    # Of the build in its round.
    number: int

    @property
    def uses_base(self):
        return workloads.uses_base(self.context)


class Builder:
    name = ""
    # The process whose CPU and memory count too.
    daemon: Optional[int] = None

    def missing(self):
        return None

    def archive(self, job):
        """Where the result is: an archive of OCI or docker, or a folder with an OCI layout."""
        return os.path.join(job.state, "out.tar")

    def output(self, job):
        """The --output of kiln and buildctl, which are the same."""
        codec, level = job.codec
        return "type=oci,dest=%s,compression=%s" % (self.archive(job), codec) + (",compression-level=%d" % level if level else "")

    def begin(self, job):
        pass

    def prepare(self, job):
        pass

    def command(self, job):
        raise NotImplementedError

    def end(self):
        pass


class Kiln(Builder):
    name = "kiln"

    def __init__(self, program, cpus=None):
        self.program, self.cpus = program, cpus
        if cpus:
            self.name = "%s %d CPU%s" % (ON, cpus, "s" * (cpus > 1))

    def missing(self):
        return None if os.access(self.program, os.X_OK) else "there is no `%s`; see --kiln" % self.program

    def command(self, job):
        build = [self.program, "build", "--progress", "plain", "--output", self.output(job),
                 "--build-context", "%s=oci-layout://%s:%s" % (workloads.BASE_NAME, job.base, workloads.BASE_NAME),
                 job.context]
        if self.cpus:
            # It makes as many jobs of this as it may use.
            build = ["taskset", "--cpu-list", "0-%d" % (self.cpus - 1), *build]
        return "KILN_STORE=%s exec %s" % (shlex.quote(os.path.join(job.state, "store")), shlex.join(build))


class Buildah(Builder):
    name = "buildah"

    def __init__(self, storage_driver):
        self.storage_driver = storage_driver

    def missing(self):
        if not shutil.which("buildah"):
            return "buildah is not installed"
        return None if os.geteuid() == 0 else "needs root"

    def command(self, job):
        command = ["buildah", "--root", os.path.join(job.state, "root"), "--runroot", os.path.join(job.state, "run"),
                   "--storage-driver", self.storage_driver]
        name = "localhost/" + workloads.BASE_NAME
        steps = ["export HOME=" + shlex.quote(job.state)]
        if job.uses_base:
            pull = shlex.join([*command, "pull", "--quiet", "oci:%s:%s" % (job.base, workloads.BASE_NAME)])
            steps.append("if ! %s >/dev/null 2>&1; then %s $(%s) %s; fi" % (
                shlex.join([*command, "inspect", "--type", "image", name]), shlex.join([*command, "tag"]), pull, name))
        build = [*command, "build", "--layers", "--isolation", "chroot", *BUILDAH_LIMITS, "-t", "peer", job.context]
        codec, level = job.codec
        push = [*command, "push", "--quiet", "--compression-format", codec,
                *(["--compression-level", str(level)] if level else []), "peer", "oci-archive:" + self.archive(job)]
        return " && ".join([*steps, shlex.join(build), shlex.join(push)])


class BuildKit(Builder):
    name = "buildkit"

    def __init__(self):
        self.client, self.server = program("BUILDCTL", "buildctl"), program("BUILDKITD", "buildkitd")
        self.process = None
        self.folder = ""

    def missing(self):
        if not (self.client and self.server):
            return "neither BUILDCTL and BUILDKITD nor PATH name both programs"
        if not (shutil.which("runc") or shutil.which("crun")):
            return "neither runc nor crun is installed"
        return None if os.geteuid() == 0 else "needs root"

    def begin(self, job):
        root = os.path.join(job.state, "root")
        os.mkdir(root)
        # The path of a socket may have some hundred bytes, which is not much for the state's.
        self.folder = tempfile.mkdtemp(prefix="peers-")
        # Its collector would throw away what the next build needs, because the disk is rather full or the context rather
        # large. The network is the host's, as for the others.
        serve = [self.server, "--root", root, "--addr", self.address(), "--containerd-worker=false", "--oci-worker=true",
                 "--oci-worker-gc=false", "--oci-worker-net=host",
                 "--oci-worker-binary", "runc" if shutil.which("runc") else "crun",
                 "--otel-socket-path", os.path.join(self.folder, "traces")]
        log = os.path.join(job.state, "daemon")
        with open(log, "w") as file:
            self.process = subprocess.Popen(serve, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        self.daemon = self.process.pid
        until = time.monotonic() + START_SECONDS
        ask = [self.client, "--addr", self.address(), "debug", "workers"]
        while subprocess.run(ask, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > until:
                with open(log) as file:
                    raise CannotRun("its daemon does not start: " + last_line(file.read()))
            time.sleep(0.1)

    def address(self):
        return "unix://" + os.path.join(self.folder, "socket")

    def command(self, job):
        build = [self.client, "--addr", self.address(), "build", "--progress", "plain", "--frontend", "dockerfile.v0",
                 "--local", "context=" + job.context, "--local", "dockerfile=" + job.context, "--output", self.output(job)]
        if job.uses_base:
            build += ["--oci-layout", "base=" + job.base,
                      "--opt", "context:%s=oci-layout://base@%s" % (workloads.BASE_NAME, workloads.base_digest(job.base))]
        return "exec " + shlex.join(build)

    def end(self):
        stop(self.process)
        self.process = self.daemon = None
        shutil.rmtree(self.folder, ignore_errors=True)


# It unpacks stages over its own root, and deletes what it finds there. So it gets a root that may go, with a /dev of its own.
KANIKO_ROOM = """set -e
mount --bind -o ro "$2" "$1/workspace"; mount --bind "$3" "$1/out"; mount -t proc proc "$1/proc"; mount -t tmpfs tmpfs "$1/dev"
for node in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "$1/dev/${node%:*}" c 1 "${node#*:}"; done
mkdir -m 1777 "$1/dev/shm"; ln -s /proc/self/fd "$1/dev/fd"
for file in resolv.conf hosts; do mount --bind -o ro "/etc/$file" "$1/etc/$file"; done
root=$1; shift 3; exec chroot "$root" "$@"
"""


class Kaniko(Builder):
    name = "kaniko"

    def __init__(self):
        self.program, self.registry, self.root = program("KANIKO", None), None, ""

    def missing(self):
        if not self.program:
            return "KANIKO does not name its executor"
        return None if os.geteuid() == 0 else "needs root"

    def archive(self, job):
        # An archive of its has gzip alone; zstd is for a layout, which is not packed into one file.
        return os.path.join(job.state, "out", "out.tar" if job.codec[0] == "gzip" else "layout")

    def begin(self, job):
        if job.uses_base:
            self.registry = Registry(job.state)
            self.registry.push(job.base)

    def prepare(self, job):
        self.root = os.path.join(job.state, "root-%d" % job.number)
        for folder in ("kaniko", "workspace", "out", "proc", "dev", "etc", "tmp"):
            os.makedirs(os.path.join(self.root, folder))
        os.makedirs(os.path.join(job.state, "out"), exist_ok=True)
        for name in ("resolv.conf", "hosts"):
            with open(os.path.join(self.root, "etc", name), "w"):
                pass
        shutil.copy(self.program, os.path.join(self.root, "kaniko/executor"))

    def command(self, job):
        codec, level = job.codec
        build = ["/kaniko/executor", "--force", "--log-format", "text", "--context", "dir:///workspace", "--no-push",
                 "--destination", "peer", "--cache", "--cache-copy-layers", "--cache-repo", "oci:/out/cache",
                 *(["--tar-path", "/out/out.tar"] if codec == "gzip" else
                   ["--image-format", "oci", "--compression", codec, "--oci-layout-path", "/out/layout"]),
                 *(["--compression-level", str(level)] if level else [])]
        if self.registry:
            # What would come from Docker Hub comes from there.
            build += ["--registry-mirror", self.registry.address, "--insecure-registry", self.registry.address,
                      "--skip-default-registry-fallback"]
        room = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", KANIKO_ROOM, "sh", self.root, job.context,
                os.path.join(job.state, "out")]
        return "exec " + shlex.join(["env", "-i", "HOME=/root", "USER=root", "PATH=" + PATH, *room, *build])

    def end(self):
        if self.registry:
            self.registry.stop()
        self.registry = None


class Registry:
    """Debian's docker-registry on a port of loopback that is free, for builders that take a base from nowhere else."""

    def __init__(self, state):
        for needed in ("docker-registry", "skopeo"):
            if not shutil.which(needed):
                raise CannotRun("%s is not installed, and it takes a base from a registry alone" % needed)
        config = os.path.join(state, "registry.yml")
        with open(config, "w") as file:
            file.write("version: 0.1\nlog: {level: info, accesslog: {disabled: true}}\n"
                       "storage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: \"127.0.0.1:0\"}\n"
                       % os.path.join(state, "registry"))
        self.process = subprocess.Popen(["docker-registry", "serve", config], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        lines = iter(self.process.stderr)
        found = next(filter(None, (re.search(r"listening on (127\.0\.0\.1:\d+)", line) for line in lines)), None)
        if not found:
            self.process.wait()
            raise CannotRun("docker-registry does not start")
        self.address = found.group(1)
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def push(self, base):
        done = subprocess.run(
            ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", "oci:%s:%s" % (base, workloads.BASE_NAME),
             "docker://%s/library/%s" % (self.address, workloads.BASE_NAME)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self.stop()
            raise CannotRun("the base cannot be pushed: " + last_line(done.stderr))

    def stop(self):
        stop(self.process)


class Other(Builder):
    """A command of the environment."""

    def __init__(self, name, template):
        self.name, self.template = name, template

    def command(self, job):
        return self.template.format(context=shlex.quote(job.context), archive=shlex.quote(self.archive(job)),
                                    state=shlex.quote(job.state), base=shlex.quote(job.base))


class Alone(Builder):
    """No builder: the commands of independent steps as bare processes at the same time, which nothing can undercut."""
    name = "commands alone"

    def archive(self, job):
        return None

    def command(self, job):
        folder = os.path.join(job.context, "root/bin")
        shell = shlex.join(["env", "-i", "PATH=" + folder, os.path.join(folder, "sh"), "-c"])
        return " ".join("%s %s &" % (shell, shlex.quote(work)) for work in workloads.stage_commands("/dev/null")) + " wait"


def program(variable, name):
    """The program that a variable or else PATH names."""
    return os.environ.get(variable) or (name and shutil.which(name))


def others():
    return [Other(name[len(OTHER):].lower(), value) for name, value in os.environ.items() if name.startswith(OTHER)]


def stop(process):
    if process and process.poll() is None:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it says nothing"
