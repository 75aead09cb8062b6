"""The figures as text, Markdown and JSON."""

import dataclasses
from statistics import median

from bench.measure import BUSY, STALL, STALLED


def best_peer(result, larders):
    """The peer with the best median; the ratio is taken against it in each round."""
    peers = [name for name in result.turns if name not in larders and name != "floor"]
    what = result.row.measure
    return max(peers, key=lambda name: median_of(result, name, what), default=None)


def median_of(result, name, what):
    return median(turn.per_cpu(what) for turn in result.turns[name])


def ratios(result, name, other, rate=False):
    """`name` over `other`, round by round: by processor time, or by the plain rate."""
    what = result.row.measure
    value = (lambda turn: turn.rate(what)) if rate else (lambda turn: turn.per_cpu(what))
    return [value(mine) / value(its) for mine, its in zip(result.turns[name], result.turns[other], strict=True)]


@dataclasses.dataclass(frozen=True)
class Judgement:
    """How one build of larder did in one row."""

    larder: str
    peer: str | None
    peer_ratio: float | None
    peer_spread: tuple | None
    peer_rate_ratio: float | None
    floor_ratio: float | None
    p99_ratio: float | None
    met: bool | None


def judge(result, larder, larders):
    aim, peer = result.row.aim, best_peer(result, larders)
    checks = []
    peer_ratio = spread = rate_ratio = floor_ratio = p99_ratio = None
    if peer:
        all_ratios = ratios(result, larder, peer)
        peer_ratio, spread = median(all_ratios), (min(all_ratios), max(all_ratios))
        rate_ratio = median(ratios(result, larder, peer, rate=True))
        p99s = [
            (mine.outcome.p99, its.outcome.p99)
            for mine, its in zip(result.turns[larder], result.turns[peer], strict=True)
        ]
        if all(mine and its for mine, its in p99s):
            p99_ratio = median(mine / its for mine, its in p99s)
        if aim.best_peer:
            checks.append(peer_ratio >= aim.best_peer)
        if aim.p99_no_worse and p99_ratio:
            checks.append(p99_ratio <= 1.05)
    if "floor" in result.turns:
        floor_ratio = median(ratios(result, larder, "floor"))
        if aim.floor:
            checks.append(floor_ratio >= aim.floor)
    met = all(checks) if checks else None
    return Judgement(larder, peer, peer_ratio, spread, rate_ratio, floor_ratio, p99_ratio, met)


def remarks(result, name):
    """What a reader has to know about one proxy's figures in one row."""
    turns, found = result.turns[name], []
    if median(turn.server_busy for turn in turns) < BUSY:
        bound = median(turn.outcome.load_busy for turn in turns) >= BUSY
        found.append("load-bound" if bound else "idles")
    p99s = [turn.outcome.p99 for turn in turns if turn.outcome.p99]
    if p99s and median(p99s) >= STALL and median(p99s) >= STALLED * median(turn.outcome.p50 for turn in turns):
        found.append("stalls")
    return found


COLUMNS = ("", "per server CPU-second", "spread", "of floor", "plain rate", "p50", "p99", "server", "load", "head", "")


def lines(result):
    """The cells of a row's own table, a line for each proxy."""
    what, found = result.row.measure, []
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
                percent(turn.server_busy for turn in turns),
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
        if larder not in result.turns:
            continue
        it, parts = judge(result, larder, larders), []
        if it.peer_ratio:
            parts.append(
                f"{it.peer_ratio:.2f} × {it.peer} ({it.peer_spread[0]:.2f} to {it.peer_spread[1]:.2f}; "
                f"by plain rate {it.peer_rate_ratio:.2f})"
            )
        if it.floor_ratio:
            parts.append(f"{it.floor_ratio:.2f} × the floor")
        if it.p99_ratio:
            parts.append(f"p99 {it.p99_ratio:.2f} ×")
        aim = f"aim {result.row.aim.text()}: {said(it.met)}" if result.row.aim.text() else ""
        found.append(f"{larder}: {', '.join(parts)}; {aim}")
    for name in larders[1:]:
        if name in result.turns and larders[0] in result.turns:
            between = ratios(result, name, larders[0])
            found.append(f"{name} / {larders[0]}: {median(between):.3f} ({min(between):.3f} to {max(between):.3f})")
    found += [f"{name} is left out: {reason}" for name, reason in result.left_out.items()]
    return found


def text(result, larders):
    table = [COLUMNS, *lines(result)]
    widths = [max(len(line[column]) for line in table) for column in range(len(COLUMNS))]
    out = [result.row.title]
    for line in table:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:-1], strict=True)]
        out.append("  " + "  ".join([*cells, line[-1]]).rstrip())
    return "\n".join(out + ["  " + verdict for verdict in verdicts(result, larders)])


def markdown_row(result, larders):
    table = markdown([COLUMNS, *lines(result)])
    return "\n".join([f"### {result.row.title}", "", table, "", *(f"- {verdict}" for verdict in verdicts(result, larders))])


def summary(results, larders):
    """The table of all rows."""
    head = ("workload", "build", "best peer", "larder / best peer", "by plain rate", "larder / floor", "p99", "aim", "")
    body = []
    for result in results:
        for larder in larders:
            if larder not in result.turns:
                continue
            it = judge(result, larder, larders)
            body.append(
                (
                    result.row.title,
                    larder,
                    it.peer or "",
                    ratio(it.peer_ratio),
                    ratio(it.peer_rate_ratio),
                    ratio(it.floor_ratio),
                    ratio(it.p99_ratio),
                    result.row.aim.text(),
                    said(it.met),
                )
            )
    if len(larders) == 1:
        drop = head.index("build")
        head, *body = ((*line[:drop], *line[drop + 1 :]) for line in (head, *body))
    return [head, *body]


def markdown(table):
    head, *body = table
    out = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    return "\n".join(out + ["| " + " | ".join(line) + " |" for line in body])


def plain(table):
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table
    )


def as_json(results, larders, conditions):
    return {
        "conditions": conditions,
        "rows": [
            {
                "key": result.row.key,
                "title": result.row.title,
                "measure": result.row.measure,
                "aim": dataclasses.asdict(result.row.aim),
                "turns": {
                    name: [dataclasses.asdict(turn) for turn in turns] for name, turns in result.turns.items()
                },
                "heads": {name: dataclasses.asdict(head) for name, head in result.heads.items()},
                "left_out": result.left_out,
                "larder": [
                    dataclasses.asdict(judge(result, larder, larders)) for larder in larders if larder in result.turns
                ],
            }
            for result in results
        ],
    }


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
