"""What `make clean` takes and what it leaves."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.smoke import PROJECT, run

MADE_AGAIN = (
    *(".venv/ready", ".work/runs/train-toy/last.ckpt", ".mypy_cache/a", ".ruff_cache/a", ".pytest_cache/a"),
    *(".hypothesis/a", "dvc_plots/index.html", "stages/__pycache__/run.pyc", "tests/stages/__pycache__/run.pyc"),
)
KEPT = (
    *("data/alphablend/a.parquet", "models/net/a.safetensors", "reports/timings/a.json", "mlflow.db", "mlruns/0/a"),
    *(".cache/downloads/a.deb", ".work/mlflow-spool/a.jsonl", ".work/prefect/prefect.db", "stages/run.py"),
)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_clean_takes_what_can_be_made_again_and_no_result_or_record(tmp_path: Path) -> None:
    shutil.copyfile(PROJECT / "Makefile", tmp_path / "Makefile")
    for name in (*MADE_AGAIN, *KEPT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for _ in range(2):
        ended = run(tmp_path, "make", "clean")
        assert ended.returncode == 0, ended.stderr
        assert files(tmp_path) == {"Makefile", *KEPT}
