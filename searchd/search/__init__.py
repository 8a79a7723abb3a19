"""Scheduler and searcher put together, in memory: `searchd.search.search.Search`."""
