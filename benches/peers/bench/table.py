"""The figures as text, Markdown and JSON."""

import dataclasses
from statistics import median

from bench import memory
from bench.measure import BUSY, STALL, STALLED


P99_NO_WORSE = 1.05
"""Beside the best peer's."""


def best(result, names):
    """The one with the best median; the ratio is taken against it in each round."""
    what = result.row.counted
    return max(names, key=lambda name: median(turn.per_cpu(what) for turn in result.turns[name]), default=None)


def ratios(result, name, other, rate=False):
    """`name` over `other`, round by round: by processor time, or by the plain rate."""
    what = result.row.counted
    value = (lambda turn: turn.rate(what)) if rate else (lambda turn: turn.per_cpu(what))
    return [value(mine) / value(its) for mine, its in zip(result.turns[name], result.turns[other], strict=True)]


@dataclasses.dataclass(frozen=True)
class Judgement:
    """How one build of larder did in one row."""

    larder: str
    judged: str
    """Whose figures it is judged by."""
    peer: str | None
    peer_ratio: float | None
    peer_spread: tuple | None
    peer_rate_ratio: float | None
    floor_ratio: float | None
    floor_rate_ratio: float | None
    p99_ratio: float | None
    met: bool | None


def judged(result, larder):
    """Whether there are figures to judge it by."""
    mine, _ = result.row.contest(larder, result.turns)
    return mine in result.turns


def judge(result, larder):
    aim = result.row.aim
    mine, rivals = result.row.contest(larder, result.turns)
    peer = best(result, rivals)
    checks = []
    peer_ratio = spread = rate_ratio = floor_ratio = floor_rate = p99_ratio = None
    if peer:
        all_ratios = ratios(result, mine, peer)
        peer_ratio, spread = median(all_ratios), (min(all_ratios), max(all_ratios))
        rate_ratio = median(ratios(result, mine, peer, rate=True))
        p99s = [
            (own.outcome.p99, its.outcome.p99)
            for own, its in zip(result.turns[mine], result.turns[peer], strict=True)
        ]
        if all(own and its for own, its in p99s):
            p99_ratio = median(own / its for own, its in p99s)
        if aim.best_peer:
            checks.append(peer_ratio >= aim.best_peer)
        if aim.p99_no_worse and p99_ratio:
            checks.append(p99_ratio <= P99_NO_WORSE)
    if "floor" in result.turns:
        floor_ratio = median(ratios(result, mine, "floor"))
        floor_rate = median(ratios(result, mine, "floor", rate=True))
        if aim.floor:
            checks.append(floor_ratio >= aim.floor)
    met = all(checks) if checks else None
    return Judgement(larder, mine, peer, peer_ratio, spread, rate_ratio, floor_ratio, floor_rate, p99_ratio, met)


def remarks(result, name):
    """What a reader has to know about one proxy's figures in one row."""
    turns, found = result.turns[name], []
    if not result.row.shares_cores(name) and median(turn.outcome.server_busy for turn in turns) < BUSY:
        bound = median(turn.outcome.load_busy for turn in turns) >= BUSY
        found.append("load-bound" if bound else "idles")
    p99s = [turn.outcome.p99 for turn in turns if turn.outcome.p99]
    if p99s and median(p99s) >= STALL and median(p99s) >= STALLED * median(turn.outcome.p50 for turn in turns):
        found.append("stalls")
    stored = [turn.stored for turn in turns if turn.stored is not None]
    if stored and median(stored) < 1:
        found.append(f"stores {percent(stored)}")
    return found


COLUMNS = ("", "per server CPU-second", "spread", "of floor", "plain rate", "p50", "p99", "server", "load", "head", "")


def lines(result):
    """The cells of a row's own table, a line for each proxy."""
    what, found = result.row.counted, []
    for name, turns in result.turns.items():
        each = sorted(turn.per_cpu(what) for turn in turns)
        head = result.heads.get(name)
        found.append(
            (
                name,
                quantity(median(each), what),
                f"{quantity(each[0], what)} to {quantity(each[-1], what)}",
                f"{median(ratios(result, name, 'floor')):.2f}" if "floor" in result.turns else "",
                quantity(median(turn.rate(what) for turn in turns), what),
                seconds([turn.outcome.p50 for turn in turns]),
                seconds([turn.outcome.p99 for turn in turns]),
                percent(turn.outcome.server_busy for turn in turns),
                percent(turn.outcome.load_busy for turn in turns),
                f"{head.bytes} B" if head else "",
                ", ".join(remarks(result, name)),
            )
        )
    return found


def verdicts(result, larders):
    """A sentence for each build of larder."""
    found = []
    for larder in larders:
        if not judged(result, larder):
            continue
        it, parts = judge(result, larder), []
        if it.peer_ratio:
            parts.append(
                f"{it.peer_ratio:.2f} × {it.peer} ({it.peer_spread[0]:.2f} to {it.peer_spread[1]:.2f}; "
                f"by plain rate {it.peer_rate_ratio:.2f})"
            )
        if it.floor_ratio:
            parts.append(f"{it.floor_ratio:.2f} × the floor (by plain rate {it.floor_rate_ratio:.2f})")
        if it.p99_ratio:
            parts.append(f"p99 {it.p99_ratio:.2f} ×")
        aim = f"aim {result.row.aim.text()}: {said(it.met)}" if result.row.aim.text() else ""
        if parts:
            found.append(f"{it.judged}: {', '.join(parts)}; {aim}")
    for name in larders[1:]:
        if name in result.turns and larders[0] in result.turns:
            between = ratios(result, name, larders[0])
            found.append(f"{name} / {larders[0]}: {median(between):.3f} ({min(between):.3f} to {max(between):.3f})")
    found += [f"{name} is left out: {reason}" for name, reason in result.left_out.items()]
    return found + failures(result)


def failures(result):
    return [f"{name} FAILED: {reason}" for name, reason in result.failed.items()]


@dataclasses.dataclass(frozen=True)
class Report:
    """A row, ready to be printed."""

    title: str
    table: list
    verdicts: list
    summary: list
    """Its lines in the table of all rows."""
    figures: dict
    complete: bool
    """Whether all went well."""


HEAD = ("workload", "build", "best peer", "larder / best peer", "by plain rate", "larder / floor", "p99", "aim", "")


def report(result, larders):
    if isinstance(result, memory.Result):
        return report_memory(result, larders)
    judgements = [judge(result, larder) for larder in larders if judged(result, larder)]
    summary = [
        (
            result.row.title,
            it.larder,
            it.peer or "",
            ratio(it.peer_ratio),
            ratio(it.peer_rate_ratio),
            ratio(it.floor_ratio),
            ratio(it.p99_ratio),
            result.row.aim.text(),
            said(it.met),
        )
        for it in judgements
    ]
    figures = {
        "key": result.row.key,
        "title": result.row.title,
        "counted": result.row.counted,
        "aim": dataclasses.asdict(result.row.aim),
        "turns": {name: [dataclasses.asdict(turn) for turn in turns] for name, turns in result.turns.items()},
        "heads": {name: dataclasses.asdict(head) for name, head in result.heads.items()},
        "left_out": result.left_out,
        "failed": result.failed,
        "larder": [dataclasses.asdict(it) for it in judgements],
    }
    table = [COLUMNS, *lines(result)]
    return Report(result.row.title, table, verdicts(result, larders), summary, figures, not result.failed)


def report_memory(result, larders):
    table = [("", "each connection", "spread", "without any")]
    for name, each in result.each.items():
        spread = f"{memory.kib([min(each)])} to {memory.kib([max(each)])}"
        table.append((name, memory.kib(each), spread, memory.mib(result.idle[name])))
    aim, summary = f"≤ {memory.kib([result.row.aim_bytes])}", []
    present = [larder for larder in larders if larder in result.each]
    for larder in present:
        beside = [f"{memory.kib(each)} {name}" for name, each in result.each.items() if name not in larders]
        met = median(result.each[larder]) <= result.row.aim_bytes
        cells = (", ".join(beside), memory.kib(result.each[larder]), "", "", "", aim, said(met))
        summary.append((result.row.title, larder, *cells))
    figures = {"key": result.row.key, "title": result.row.title, "each": result.each, "idle": result.idle}
    said_of = [f"{larder}: aim {aim}: {cells[-1]}" for larder, cells in zip(present, summary, strict=True)]
    return Report(result.row.title, table, said_of + failures(result), summary, figures, not result.failed)


def text(report):
    return "\n".join([report.title, *("  " + line for line in [*aligned(report.table), *report.verdicts])])


def markdown_row(report):
    verdicts = [f"- {line}" for line in report.verdicts]
    return "\n".join([f"### {report.title}", "", markdown(report.table), "", *verdicts])


def summary(reports, larders):
    """The table of all rows."""
    table = [HEAD, *(line for report in reports for line in report.summary)]
    if len(larders) == 1:
        table = [(line[0], *line[2:]) for line in table]
    return table


def markdown(table):
    head, *body = table
    out = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join(out + ["| " + " | ".join(line) + " |" for line in body])


def aligned(table):
    """Lines of text, figures to the right."""
    columns = range(len(table[0]))
    widths = [max(len(line[column]) for line in table) for column in columns]
    figures = [
        column > 0 and all(not line[column] or line[column][0].isdigit() for line in table[1:]) for column in columns
    ]
    return [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, figures, strict=True)
        ).rstrip()
        for line in table
    ]


def ratio(value):
    return "" if value is None else f"{value:.2f}"


def said(met):
    return {None: "", True: "met", False: "not met"}[met]


def quantity(value, what):
    if what == "bytes":
        return f"{value / 1e6:,.0f} MB"
    return f"{value:,.0f}"


def seconds(values):
    if any(value is None for value in values):
        return ""
    value = median(values)
    return f"{value * 1e3:.2f} ms" if value < 0.1 else f"{value * 1e3:.0f} ms"


def percent(shares):
    return f"{100 * median(shares):.0f} %"
