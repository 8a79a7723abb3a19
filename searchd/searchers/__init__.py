"""Which config a new trial gets. Each searcher is one `suggest`; the parts that it needs are imported when used."""
