"""The SQLite file: what several openers at once meet."""

import threading
from pathlib import Path

from self_coding.adapters.db import Database


def test_a_file_that_another_thread_makes_is_not_taken_for_read_only(tmp_path: Path) -> None:
    """Whoever opens a new database while others make it may write it as well."""
    errors = []

    def use(path: Path, start: threading.Barrier) -> None:
        database = Database(path, application=7, migrations=("CREATE TABLE one (x);",))
        start.wait()
        try:
            with database.write() as connection:
                connection.execute("INSERT INTO one VALUES (1)")
        except Exception as error:  # noqa: BLE001 - any refusal is what the test looks for
            errors.append(error)
        database.close()

    for number in range(60):
        start = threading.Barrier(4)
        path = tmp_path / f"{number}.db"
        several = [threading.Thread(target=use, args=(path, start)) for _ in range(4)]
        for each in several:
            each.start()
        for each in several:
            each.join()
    assert errors == []
