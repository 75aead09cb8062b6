"""What the tables say of figures that are known. `python3 -m unittest discover -s benches/peers -t benches/peers`."""

import unittest

from bench import table
from bench.load import Outcome
from bench.measure import Result, Turn
from bench.rows import ROWS
from bench.verify import Head

ROW = next(row for row in ROWS if row.key == "hit-1k")
WORKERS = next(row for row in ROWS if row.key == "workers-2")


def turn(requests, cpu, p99=0.002, server_busy=1.0, load_busy=0.5):
    outcome = Outcome(requests, requests * 1024, 1.0, 0.001, p99, 0.01, load_busy, server_busy)
    return Turn(outcome, cpu, 0, None)


def result(row=ROW, failed=None, **turns):
    return Result(row, turns, {name: Head(200, 5) for name in turns}, {}, failed or {})


class Judged(unittest.TestCase):
    def test_ratios_are_of_processor_time_and_taken_round_by_round(self):
        # The machine was twice as fast in the second round, and larder's load had half the time.
        found = result(
            larder=[turn(50, 0.5), turn(100, 0.5)],
            nginx=[turn(80, 1.0), turn(160, 1.0)],
            floor=[turn(200, 1.0), turn(400, 1.0)],
        )
        it = table.judge(found, "larder")
        self.assertEqual(it.peer, "nginx")
        self.assertEqual(it.peer_ratio, 1.25)
        self.assertEqual(it.peer_rate_ratio, 0.625)
        self.assertEqual(it.floor_ratio, 0.5)

    def test_the_best_peer_is_neither_the_floor_nor_another_build(self):
        found = result(
            larder=[turn(100, 1)], after=[turn(300, 1)], floor=[turn(900, 1)], nginx=[turn(80, 1)], squid=[turn(90, 1)]
        )
        self.assertEqual(table.judge(found, "larder").peer, "squid")

    def test_an_aim_is_met_only_as_a_whole(self):
        peers = {"nginx": [turn(100, 1)], "floor": [turn(125, 1)]}
        self.assertTrue(table.judge(result(larder=[turn(105, 1)], **peers), "larder").met)
        self.assertFalse(table.judge(result(larder=[turn(104, 1)], **peers), "larder").met)
        self.assertFalse(table.judge(result(larder=[turn(105, 1, p99=0.0022)], **peers), "larder").met)
        self.assertFalse(table.judge(result(larder=[turn(105, 1)], **{**peers, "floor": [turn(140, 1)]}), "larder").met)

    def test_two_workers_are_judged_beside_one(self):
        turns = {"larder": [turn(100, 1)], "larder, 2 workers": [turn(190, 2)], "nginx": [turn(900, 1)]}
        found = result(WORKERS, **turns)
        it = table.judge(found, "larder")
        self.assertEqual((it.judged, it.peer, it.peer_ratio, it.met), ("larder, 2 workers", "larder", 0.95, True))


class Told(unittest.TestCase):
    def test_who_was_not_busy_is_told(self):
        found = result(larder=[turn(1, 1)], nginx=[turn(1, 1, server_busy=0.5)], squid=[turn(1, 1, 0.05, 0.5, 0.95)])
        said = {line[0]: line[-1] for line in table.lines(found)}
        self.assertEqual(said, {"larder": "", "nginx": "idles", "squid": "load-bound, stalls"})

    def test_a_failure_is_told_and_makes_the_run_incomplete(self):
        report = table.report(result(larder=[turn(1, 1)], failed={"nginx": "ended with 1"}), ["larder"])
        self.assertFalse(report.complete)
        self.assertIn("nginx FAILED: ended with 1", table.text(report))

    def test_builds_have_a_column_only_where_there_are_several(self):
        reports = [table.report(result(larder=[turn(1, 1)], after=[turn(2, 1)]), ["larder", "after"])]
        self.assertIn("build", table.summary(reports, ["larder", "after"])[0])
        self.assertNotIn("build", table.summary(reports, ["larder"])[0])
        self.assertIn("after / larder: 2.000 (2.000 to 2.000)", reports[0].verdicts)


if __name__ == "__main__":
    unittest.main()
