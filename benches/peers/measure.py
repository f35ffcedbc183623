"""Runs a command and says what it took: wall-clock time, CPU, memory, of it and of a daemon that works for it.

CPU is that of the command and all it started, and of the daemon (utime, stime, cutime and cstime of /proc/PID/stat: what
it started counts as soon as it ended). Memory is the largest resident size of one process. Of a daemon it is VmHWM,
which is reset to what the daemon has at that moment when the command starts; if the kernel cannot do that it is unknown.
"""

import os
import re
import signal
import subprocess
import sys
from typing import NamedTuple, Optional

# Linux counts what the parent had in memory at the fork as memory of a process that has not had more. So a process that
# has little is the parent: this has 9 MB.
METER = """import os, sys, time
began = time.monotonic()
child = os.posix_spawn("/bin/sh", ["sh", "-c", sys.argv[2]], os.environ)
_, status, usage = os.wait4(child, 0)
took = time.monotonic() - began
with open(sys.argv[1], "w") as file:
    file.write("%r %r %r" % (took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024))
sys.exit(os.waitstatus_to_exitcode(status) & 255)
"""
# Has a page of memory for everything.
TOUCHER = """import mmap, sys
memory = mmap.mmap(-1, int(sys.argv[1]) << 30)
for page in range(0, len(memory), mmap.PAGESIZE):
    memory[page] = 1
"""
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A command did not end well."""


class Sample(NamedTuple):
    """What one build took."""
    seconds: float
    cpu: float
    # The largest process.
    mib: Optional[float]
    archive_mb: Optional[float] = None
    # What commands of steps took by their own clocks.
    commands: Optional[float] = None


def touch_memory(gib):
    """Writes to so much free memory and frees it, so that the host of a virtual machine has found it."""
    subprocess.run([sys.executable, "-I", "-S", "-c", TOUCHER, str(gib)], check=True)


def run(command, log, timeout, daemon=None) -> Sample:
    """Runs a shell's command; what it says goes to the file `log`."""
    numbers = log + ".numbers"
    reset, before = reset_peak(daemon), daemon_cpu(daemon)
    with open(log, "w") as file:
        process = subprocess.Popen([sys.executable, "-I", "-S", "-c", METER, numbers, command], stdin=subprocess.DEVNULL,
                                   stdout=file, stderr=file, start_new_session=True)
        try:
            code = process.wait(timeout)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise Failed("it takes more than %d s" % timeout) from error
            raise
    if code != 0:
        raise Failed("it fails with %d: %s" % (code, tail(log)))
    with open(numbers) as file:
        seconds, cpu, mib = map(float, file.read().split())
    if daemon:
        peak = peak_mib(daemon) if reset else None
        return Sample(seconds, cpu + daemon_cpu(daemon) - before, peak and max(mib, peak))
    return Sample(seconds, cpu, mib)


def daemon_cpu(pid):
    if pid is None:
        return 0
    with open("/proc/%d/stat" % pid) as file:
        return sum(map(int, file.read().rpartition(")")[2].split()[11:15])) / TICKS


def reset_peak(pid):
    if pid is None:
        return False
    try:
        with open("/proc/%d/clear_refs" % pid, "w") as file:
            file.write("5")
        return True
    except OSError:
        return False


def peak_mib(pid):
    with open("/proc/%d/status" % pid) as file:
        return int(re.search(r"VmHWM:\s+(\d+) kB", file.read()).group(1)) / 1024


def tail(log):
    with open(log, errors="replace") as file:
        lines = [line.strip() for line in file if line.strip()]
    wrong = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)] or lines
    return wrong[-1][:300] if wrong else "it says nothing"
