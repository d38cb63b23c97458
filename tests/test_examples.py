"""Every example runs as a user would run it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import PENDULUM

# The fibre conversation's own model is one of 100 MB.
ARGUMENTS = {"fibre_conversation": ["--tiny"], "words_that_teach": ["--steps", "600"]}
EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_says_something(example, tmp_path):
    script = tmp_path / example.name  # Gymnasium 0.29 has another version of the pendulum
    script.write_text(example.read_text().replace("InvertedPendulum-v5", PENDULUM))
    result = subprocess.run(
        [sys.executable, str(script), *ARGUMENTS.get(example.stem, [])],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    assert "return" in result.stdout


def test_there_are_examples():
    assert len(EXAMPLES) >= 4
