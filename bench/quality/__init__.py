"""How good a search is: peers and ours on the same problems, in simulated time. README.md says how to run it."""
