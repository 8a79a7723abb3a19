"""The pages of ui/app.py, one a file.

The folder must not be called `pages`: Streamlit takes a folder of that name beside the app for its own kind of
multi-page app, and a browser that opens /study first got an empty page from it.
"""
