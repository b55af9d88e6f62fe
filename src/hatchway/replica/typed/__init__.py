"""Payloads by their annotation, and what is told of them: decoding, validation, answers by Accept, OpenAPI.

`annotations` reads what a method says, `decoders` chooses who decodes it, one module per kind of value does so. What
decodes a value imports its library (NumPy, pandas, Pillow, pydantic: always the user's own) only once an annotation
has named it. Nothing here knows sockets, threads or the event loop.
"""
