"""The page: `streamlit run ui/app.py -- --root out`, or with SEARCHD_URL a daemon's studies. It only reads."""

from pathlib import Path

import pandas  # noqa: F401  first: a click during the very first run once met a half-imported pandas
import streamlit as st

from ui.screens import studies, study, workers

st.set_page_config(page_title="searchd", page_icon=str(Path(__file__).with_name("icon.svg")), layout="wide")
PAGES = {
    "studies": st.Page(studies.page, title="Studies", icon=":material/list:", url_path="studies", default=True),
    "study": st.Page(study.page, title="Study", icon=":material/scatter_plot:", url_path="study"),
    "workers": st.Page(workers.page, title="Workers", icon=":material/memory:", url_path="workers"),
}
st.session_state["pages"] = PAGES
st.html(studies.STYLE)
st.navigation(list(PAGES.values()), position="top").run()
