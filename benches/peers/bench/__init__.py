"""The parts of benches/peers/run. Python's standard library only."""
