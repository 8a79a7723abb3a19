"""The page (Streamlit) and the report of a study. Of ours it imports `searchd.client` and nothing deeper."""
