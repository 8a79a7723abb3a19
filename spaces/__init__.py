"""The ground floor: what a study file says, as values.

`spaces.study.Study` is where most callers start; `spaces.space.Space` holds domains, conditions and constraints;
`spaces.nets` and `spaces.describe` turn a config of the built-in task into exact arithmetic. Imports nothing of ours.
"""
