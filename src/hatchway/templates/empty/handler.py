"""The smallest handler. Load your model in __init__, answer requests in handle_post."""


class Handler:
    def __init__(self, config):
        self.greeting = config["greeting"]

    def handle_post(self, payload):
        return {"message": f"{self.greeting}, {payload['name']}!"}
