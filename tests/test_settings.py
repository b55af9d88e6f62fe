from __future__ import annotations

import pytest

from hatchway.errors import UsageError
from hatchway.settings import Settings


def test_the_webhook_of_a_home_is_a_secret() -> None:
    settings = Settings.from_environment({"HATCHWAY_HOME": "/h", "HATCHWAY_ALERT_WEBHOOK": "https://a.b/hunter2"})
    assert settings.alert_webhook == "https://a.b/hunter2"
    assert "hunter2" not in repr(settings)
    with pytest.raises(UsageError) as caught:
        Settings.from_environment({"HATCHWAY_HOME": "/h", "HATCHWAY_ALERT_WEBHOOK": "a.b/hunter2"})
    assert "hunter2" not in str(caught.value)


def test_no_webhook_is_the_default() -> None:
    assert Settings.from_environment({"HATCHWAY_HOME": "/h", "HATCHWAY_ALERT_WEBHOOK": ""}).alert_webhook is None
