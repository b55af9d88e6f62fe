"""Makes film ratings with tastes planted in them, finds the tastes again by matrix factorisation, saves model.npz.

rating(user, film) = mean + user's bias + film's bias + user's factors . film's factors, by alternating least squares.
"""

import numpy as np

N_USERS, N_FACTORS, N_ROUNDS = 500, 8, 12
SHARE_RATED, NOISE = 0.12, 0.4
RIDGE = 2.0  # pulls factors towards zero, so that a few ratings do not decide everything

GENRES = {
    "space": ("Star", "Orbit", "Comet", "Nebula", "Saturn"),
    "crime": ("Alibi", "Heist", "Witness", "Motive", "Verdict"),
    "romance": ("Letter", "Summer", "Promise", "Garden", "Waltz"),
    "comedy": ("Cousin", "Wedding", "Parrot", "Neighbour", "Holiday"),
    "horror": ("Cellar", "Whisper", "Mirror", "Fog", "Scarecrow"),
    "western": ("Saddle", "Canyon", "Sheriff", "Dust", "Stagecoach"),
}
SETTINGS = ("The Last {}", "{} at Midnight", "Return of the {}", "{} Without End", "A {} for Two", "The {} Affair")


def make_films():
    titles, genres = [], []
    for genre, (name, words) in enumerate(GENRES.items()):
        for word in words:
            for setting in SETTINGS:
                titles.append(f"{setting.format(word)} ({name})")
                genres.append(genre)
    return np.array(titles), np.array(genres)


def make_ratings(genres, rng):
    """Every user loves one genre, likes a second and dislikes a third. NaN where a film was not rated."""
    taste = rng.normal(0, 0.2, (N_USERS, len(GENRES)))
    for user in range(N_USERS):
        loved, liked, disliked = rng.choice(len(GENRES), 3, replace=False)
        taste[user, loved] += 1.5
        taste[user, liked] += 0.7
        taste[user, disliked] -= 1.5
    quality = rng.normal(0, 0.35, len(genres))
    ratings = 3.2 + rng.normal(0, 0.3, (N_USERS, 1)) + quality + taste[:, genres]
    ratings = np.clip(ratings + rng.normal(0, NOISE, ratings.shape), 1, 5)
    return np.where(rng.random(ratings.shape) < SHARE_RATED, ratings, np.nan)


def factorise(ratings, rng):
    known = ~np.isnan(ratings)
    mean = float(ratings[known].mean())
    centred = np.where(known, ratings - mean, 0.0)
    user_bias = centred.sum(1) / (known.sum(1) + 5)
    item_bias = (centred - user_bias[:, None] * known).sum(0) / (known.sum(0) + 5)
    rest = (centred - user_bias[:, None] - item_bias) * known
    users = rng.normal(0, 0.1, (ratings.shape[0], N_FACTORS))
    items = rng.normal(0, 0.1, (ratings.shape[1], N_FACTORS))
    for _ in range(N_ROUNDS):
        users = solve_each(items, rest, known)
        items = solve_each(users, rest.T, known.T)
    return {"users": users, "items": items, "user_bias": user_bias, "item_bias": item_bias, "mean": mean}


def solve_each(others, rest, known):
    """One ridge regression per row: the factors that explain its known ratings best, the others being fixed."""
    ridge = RIDGE * np.eye(N_FACTORS)
    return np.stack([
        np.linalg.solve(others[k].T @ others[k] + ridge, others[k].T @ row[k]) for row, k in zip(rest, known)
    ])


def error(model, ratings):
    """Root mean squared error, in stars, over the ratings that are not NaN."""
    predicted = (
        model["mean"] + model["user_bias"][:, None] + model["item_bias"] + model["users"] @ model["items"].T
    )
    return float(np.sqrt(np.nanmean((predicted - ratings) ** 2)))


if __name__ == "__main__":
    rng = np.random.default_rng(7)
    titles, genres = make_films()
    ratings = make_ratings(genres, rng)

    held_out = rng.random(ratings.shape) < 0.1
    model = factorise(np.where(held_out, np.nan, ratings), rng)
    tested = np.where(held_out, ratings, np.nan)
    guess = float(np.sqrt(np.nanmean((tested - np.nanmean(ratings)) ** 2)))
    print(f"{int((~np.isnan(ratings)).sum())} ratings of {len(titles)} films by {N_USERS} users")
    print(f"error on ratings held out: {error(model, tested):.2f} stars (always guessing the mean: {guess:.2f})")

    model = factorise(ratings, rng)
    np.savez_compressed("model.npz", titles=titles, rated=~np.isnan(ratings), **model)
    print("saved model.npz")
