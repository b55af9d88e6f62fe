"""Trains a classifier of support messages (TF-IDF and logistic regression) and saves it as model.joblib.

The training messages are put together from the phrases below; the classifier is judged on messages that were written
one by one and share no template with them.
"""

import random

import joblib
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union

OPENINGS = ("", "", "", "Hi, ", "Hello, ", "Hi there, ", "Good morning, ", "Please help: ", "Quick question: ", "Hey, ")
ENDINGS = ("", "", "", ".", "!", " Thanks.", " Can you help?", " Thank you!", " It's urgent.", " What should I do?")
THINGS = ("headphones", "jacket", "lamp", "coffee machine", "phone case", "shoes", "desk", "backpack", "blender", "watch")
DAYS = ("yesterday", "last week", "on Monday", "two weeks ago", "this morning", "a month ago")

PHRASES = {
    "delivery": (
        "where is my {thing}", "my parcel has not arrived", "the tracking number does not work",
        "my order of a {thing} was due {day} and is still on its way", "when will the {thing} be delivered",
        "the courier left my package with a neighbour I do not know", "tracking says delivered but I got nothing",
        "can you deliver the {thing} to another address", "how long does shipping take", "do you ship abroad",
        "the delivery driver did not ring the bell", "I ordered a {thing} {day}, has it been shipped",
        "my package is late", "can I pick up the {thing} at a store instead", "how much is express shipping",
    ),
    "billing": (
        "I was charged twice for the {thing}", "there is a payment on my card I do not recognise",
        "can I get an invoice for the {thing}", "my credit card was declined", "the price on my bill is wrong",
        "you took the money for the {thing} {day} although I cancelled", "how do I change my payment method",
        "can I pay by bank transfer", "my discount code was not applied to the total", "I need a receipt with VAT",
        "why did my subscription fee go up", "the payment failed but my bank shows the charge",
        "can I pay for the {thing} in instalments", "the invoice has the wrong company name", "do you accept PayPal",
    ),
    "returns": (
        "I want to return the {thing}", "the {thing} does not fit, can I exchange it", "how do I send back my {thing}",
        "I sent the {thing} back {day} and have no refund yet", "where is my refund", "I changed my mind about the {thing}",
        "how many days do I have to return an item", "can I swap the {thing} for another colour",
        "I need a return label", "you sent me the wrong {thing}, I want my money back", "who pays for return shipping",
        "can I return a {thing} I bought {day} without the box", "I would like a different size",
        "how long do refunds take", "please refund my {thing}",
    ),
    "account": (
        "I cannot log in", "I forgot my password", "how do I change my email address", "please delete my account",
        "I never got the email to confirm my account", "my account is locked", "how do I reset my password",
        "somebody else signed in to my account {day}", "how do I turn on two-factor authentication",
        "I want to change the name on my profile", "can I merge two accounts", "the login code does not arrive",
        "how do I unsubscribe from the newsletter", "remove my personal data", "my username is misspelled",
    ),
    "faulty": (
        "the {thing} arrived broken", "my {thing} stopped working {day}", "the {thing} makes a strange noise",
        "there is a part missing from the {thing}", "the {thing} does not turn on", "the screen is cracked",
        "the zip of my {thing} is torn", "is the {thing} still under warranty", "the battery no longer charges",
        "I bought a {thing} {day} and it is already damaged", "my {thing} smells of burning", "can you repair my {thing}",
        "the {thing} leaks", "the manual for the {thing} is missing", "the {thing} has a scratch out of the box",
    ),
    "product": (
        "is the {thing} available in blue", "when will the {thing} be back in stock", "what is the {thing} made of",
        "how big is the {thing}", "is the {thing} waterproof", "which {thing} do you recommend for a beginner",
        "does the {thing} come with a charger", "what is the difference between the two {thing} models",
        "do you sell gift cards", "is there a newer version of the {thing}", "how heavy is the {thing}",
        "can the {thing} be used outdoors", "do you have the {thing} in a larger version", "is this {thing} vegan",
        "will there be a sale on the {thing}",
    ),
}

WRITTEN_BY_HAND = (
    ("my package still hasn't shown up, it's been ten days", "delivery"),
    ("has my order left your warehouse", "delivery"),
    ("the courier says nobody was home but I was", "delivery"),
    ("is shipping to Norway possible", "delivery"),
    ("why do I see two payments on my card statement", "billing"),
    ("please send the invoice again, with our company address", "billing"),
    ("I'd like to pay with another card", "billing"),
    ("your bill is higher than the price I was shown", "billing"),
    ("these shoes are too small, can I get a bigger size", "returns"),
    ("I don't want it any more, how do I get my money back", "returns"),
    ("still waiting for the refund you promised", "returns"),
    ("what is your return policy", "returns"),
    ("password reset mail never comes", "account"),
    ("I'm locked out of my account", "account"),
    ("stop sending me the newsletter", "account"),
    ("how can I update my email", "account"),
    ("it broke after one day", "faulty"),
    ("one of the screws is missing", "faulty"),
    ("the device won't turn on any more", "faulty"),
    ("does the warranty cover a cracked screen", "faulty"),
    ("is the backpack big enough for a laptop", "product"),
    ("do you have this lamp in green", "product"),
    ("which blender would you recommend for smoothies", "product"),
    ("when do you expect new stock of the watch", "product"),
)


def make_messages(rng, per_phrase=6):
    """(text, topic) pairs, without repetition."""
    messages = set()
    for topic, phrases in PHRASES.items():
        for phrase in phrases:
            for _ in range(per_phrase):
                text = phrase.format(thing=rng.choice(THINGS), day=rng.choice(DAYS))
                text = rng.choice(OPENINGS) + text + rng.choice(ENDINGS)
                messages.add((text, topic))
    return sorted(messages)


if __name__ == "__main__":
    messages = make_messages(random.Random(7))
    texts, topics = zip(*messages)

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    # Pieces of words make up for spelling mistakes and word forms that were never seen.
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, min_df=2)
    model = make_pipeline(make_union(words, pieces), LogisticRegression(C=10, max_iter=1000))
    model.fit(texts, topics)

    right = sum(model.predict([text])[0] == topic for text, topic in WRITTEN_BY_HAND)
    print(f"trained on {len(texts)} messages about {len(PHRASES)} topics")
    print(f"right about {right} of {len(WRITTEN_BY_HAND)} messages it has never seen")
    joblib.dump(model, "model.joblib")
    print("saved model.joblib")
