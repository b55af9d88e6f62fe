"""Telling people that an API is in trouble: facts are judged (`decide.py`, pure), what is new is posted to a webhook.

controller, timelines, drift -> facts.py -> decide.py -> body.py -> sender.py
                                     (watch.py calls them in turn)
"""
