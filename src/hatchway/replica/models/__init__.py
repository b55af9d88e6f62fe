"""Model files served without a line of the user's: opened by the framework that wrote them, one adapter for each.

`loading.py` chooses; an adapter says what it takes and answers (`model.py`), `rows.py` and `columns.py` read payloads,
`method.py` is what a call runs. Frameworks are imported when a model is opened, never with this package.
"""
