"""The ground floor of arithmetic: operators with a reference beside each. Imports torch and nothing of ours."""
