"""The pages of ui/app.py, one a file."""
