"""Shows results: a Markdown table, sentences about goals that are no ratio of two builders, JSON, bars as SVG.

The JSON is what is measured, so that a table and a plot can be made again of several runs: {"machine": [...], "rows":
[{"workload", "phase", "tool", "reason" or null, "samples": [{"seconds", "cpu", "mib", "archive_mb", "commands"}]}]}.
"""

import json
import math
import statistics
from typing import List, NamedTuple, Optional
from xml.sax.saxutils import escape

from builders import ON
from measure import Sample

ALONE = "commands alone"
HEAD = ("| workload | | tool | seconds | of kiln's | of BuildKit's | CPU s | MiB | archive MB |\n"
        "|---|---|---|---:|---:|---:|---:|---:|---:|")
# Colours that can be told apart, and from white and from black, also by those who see no red.
COLOURS = {"kiln": "#d9730d", "buildkit": "#4a8fd4", "kaniko": "#8a7bc8", "buildah": "#8b949e"}
SPARE_COLOUR = "#5aa77b"
WIDTH, LEFT, RIGHT, BAR = 760, 190, 660, 13


class Row(NamedTuple):
    """What a tool did in a phase of a workload: samples, or why there are none."""
    workload: str
    phase: str
    tool: str
    samples: List[Sample]
    reason: Optional[str] = None

    def median(self, name):
        values = [getattr(sample, name) for sample in self.samples]
        return None if not values or None in values else statistics.median(values)


def line(row, rows):
    """A row as a line of the table; `rows` are all of its phase."""
    beginning = "| %s | %s | %s |" % (row.workload, row.phase, row.tool)
    if not row.samples:
        return "%s not run: %s | | | | | |" % (beginning, (row.reason or "").replace("|", "/"))
    seconds = row.median("seconds")
    ratios = [cell("%.2f" if seconds < 2 * base else "%.1f", seconds / base) if base else "" for base in
              (seconds_of(rows, first_tool(rows)), seconds_of(rows, "buildkit"))]
    cells = [cell("%.2f", seconds), *ratios, cell("%.2f", row.median("cpu")), cell("%.0f", row.median("mib")),
             cell("%.1f", row.median("archive_mb"))]
    return "%s %s |" % (beginning, " | ".join(cells))


def cell(form, value):
    return "" if value is None else form % value


def first_tool(rows):
    """kiln, or where it has several forms or is not there the first."""
    return "kiln" if any(row.tool == "kiln" for row in rows) else rows[0].tool


def seconds_of(rows, tool):
    return next((row.median("seconds") for row in rows if row.tool == tool), None)


def by_phase(rows):
    phases = {}
    for row in rows:
        phases.setdefault((row.workload, row.phase), []).append(row)
    return phases


def table(rows):
    return "\n".join([HEAD, *(line(row, together) for together in by_phase(rows).values() for row in together)])


def notes(rows):
    """Sentences about what the columns do not show."""
    said = []
    for (workload, phase), together in by_phase(rows).items():
        alone = seconds_of(together, ALONE)
        parts = [row for row in together if row.tool.startswith(ON) and row.samples]
        for row in together:
            if alone and row.samples and row.tool != ALONE:
                said.append("%s, %s: %s takes %+.1f%% of what the commands alone take (%.2f s)" % (
                    workload, phase, row.tool, 100 * (row.median("seconds") / alone - 1), alone))
            # A build that took the steps from its cache has no commands.
            beyond = [sample.seconds - sample.commands for sample in row.samples if sample.commands]
            if beyond:
                said.append("%s, %s: %s takes %.2f s beyond its commands (%.2f s)" % (
                    workload, phase, row.tool, statistics.median(beyond), row.median("commands") or 0))
        if len(parts) == 2:
            said.append("%s, %s: from %s to %s seconds are divided by %.2f" % (
                workload, phase, parts[0].tool, parts[1].tool, parts[0].median("seconds") / parts[1].median("seconds")))
    return said + growth(rows)


def growth(rows):
    """How much more the larger of the workloads `files-<thousands>k` take."""
    said = []
    for phase in dict.fromkeys(row.phase for row in rows):
        sizes = {int(row.workload[len("files-"):-1]): row for row in rows
                 if row.workload.startswith("files-") and row.phase == phase and row.samples}
        if len(sizes) > 1:
            least, most = sizes[min(sizes)], sizes[max(sizes)]
            said.append("files, %s: %.3g times the files take %.3g times the seconds and %.3g times the memory" % (
                phase, max(sizes) / min(sizes), most.median("seconds") / least.median("seconds"),
                most.median("mib") / least.median("mib")))
    return said


def save(path, machine, rows):
    with open(path, "w") as file:
        json.dump({"machine": machine, "rows": [
            {**row._asdict(), "samples": [sample._asdict() for sample in row.samples]} for row in rows]}, file, indent=1)
        file.write("\n")


def load(path):
    with open(path) as file:
        saved = json.load(file)
    return saved["machine"], [Row(**{**row, "samples": [Sample(**sample) for sample in row["samples"]]}) for row in saved["rows"]]


def ticks(rows):
    """The powers of ten around all seconds."""
    seconds = [row.median("seconds") for row in rows if row.samples] or [1]
    first, last = math.floor(math.log10(min(seconds))), math.ceil(math.log10(max(seconds)))
    return range(first, max(last, first + 1) + 1)


def plot(rows, machine):
    """Bars of seconds on a logarithmic scale, since phases differ by a factor of a thousand."""
    powers = ticks(rows)

    def position(seconds):
        return LEFT + (RIGHT - LEFT) * (math.log10(seconds) - powers[0]) / (powers[-1] - powers[0])

    bars, y, last = [], 58, None
    for (workload, phase), together in by_phase(rows).items():
        if workload != last:
            y += 12
            bars.append(text(8, y + 11, workload, 'class="name"'))
        last = workload
        bars.append(text(LEFT - 70, y + 11, phase, 'text-anchor="end"'))
        base = seconds_of(together, first_tool(together))
        for row in together:
            bars.append(bar(row, y, position, base))
            y += BAR + 3
        y += 7
    grid = []
    for power in powers:
        x = position(10.0 ** power)
        grid.append('<line x1="%.1f" y1="48" x2="%.1f" y2="%d" class="grid"/>' % (x, x, y))
        grid.append(text(x, 42, "%g s" % 10.0 ** power, 'text-anchor="middle" class="small"'))
    return "\n".join([
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">' % (WIDTH, y + 30),
        "<style>text{fill:#6e7681}.name{font-weight:bold}.small{font-size:10.5px}.grid{stroke:#8b949e;stroke-opacity:.35}"
        "@media(prefers-color-scheme:dark){text{fill:#adbac7}}</style>",
        text(8, 18, "Seconds of a build, logarithmic; how many times kiln's", 'class="name"'),
        *grid, *bars, text(8, y + 18, machine, 'class="small"'), "</svg>\n"])


def bar(row, y, position, base):
    name = text(LEFT - 6, y + 11, row.tool, 'text-anchor="end" class="small"')
    if not row.samples:
        return name + text(LEFT + 6, y + 11, "not run: " + (row.reason or ""), 'class="small"')
    seconds = row.median("seconds")
    x, said = position(seconds), "%.3g s" % seconds
    if base and seconds != base:
        said += ", %.2g×" % (seconds / base) if seconds < 10 * base else ", %.0f×" % (seconds / base)
    return name + '<rect x="%d" y="%d" width="%.1f" height="%d" rx="1.5" fill="%s"/>' % (
        LEFT, y, max(x - LEFT, 1), BAR, COLOURS.get(row.tool.split()[0], SPARE_COLOUR)) + text(x + 5, y + 11, said, 'class="small"')


def text(x, y, said, attributes=""):
    return '<text x="%.1f" y="%d" %s>%s</text>' % (x, y, attributes, escape(said))
