"""The command line's frame: help, errors in one line, exit codes, what is imported."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import acf_edge
from acf_edge.cli import main as command
from acf_edge.errors import AcfError, GateError, InputError

Outcome = tuple[int, str, str]


def a_verb(run: Callable[[argparse.Namespace], int]) -> ModuleType:
    module = ModuleType("acf_edge.cli.enhance")
    module.__dict__.update(
        NAME="enhance",
        HELP="do something",
        EXAMPLE="acf-edge enhance a b",
        add_arguments=lambda parser: parser.add_argument("--level", type=int),
        run=run,
    )
    return module


@pytest.fixture
def outcome(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Callable[[argparse.Namespace], int]], Outcome]:
    """Runs ``acf-edge enhance`` with another body: exit code, stdout, stderr."""

    def run_with(body: Callable[[argparse.Namespace], int]) -> Outcome:
        monkeypatch.delenv("ACF_EDGE_DEBUG", raising=False)
        monkeypatch.setattr(command, "load_verb", lambda name: a_verb(body))
        code = command.main(["enhance"])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run_with


def raising(error: BaseException) -> Callable[[argparse.Namespace], int]:
    def body(args: argparse.Namespace) -> int:
        raise error

    return body


@pytest.mark.parametrize("verb", command.VERBS)
def test_every_verb_shows_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert f"usage: acf-edge {verb}" in shown
    assert f"example:\n  acf-edge {verb}" in shown


def test_help_lists_every_verb_with_its_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for verb in command.VERBS:
        assert verb == command.load_verb(verb).NAME
        assert f"\n    {verb} " in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out == f"acf-edge {acf_edge.__version__}\n"


def test_without_a_verb_the_help_goes_to_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main([]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "usage: acf-edge" in shown.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["enhanc", "a", "b"], "Did you mean 'enhance'?"),
        (["xyzzy"], "The verbs are: enhance,"),
        (["--nonsense"], "See 'acf-edge --help'."),
        (["enhance"], "See 'acf-edge enhance --help'."),
        (["doctor", "--nonsense"], "--nonsense"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("acf-edge: error: ")
    assert told in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (InputError("'a' is bad.", "Try b."), 2, "acf-edge: error: 'a' is bad. Try b."),
        (GateError("Too slow."), 1, "acf-edge: error: Too slow."),
        (AcfError("two\n  lines"), 1, "acf-edge: error: two lines"),
        (KeyboardInterrupt(), 130, "acf-edge: interrupted: stopped by the user."),
        (PermissionError(13, "Permission denied", "out.mp4"), 2, "out.mp4' cannot be written"),
        (OSError(28, "No space left on device", "o.mp4"), 2, "disk that holds 'o.mp4' is full"),
        (OSError(28, "No space left on device"), 2, "No space left on device"),
        (FileNotFoundError(2, "No such file", b"in.mp4"), 2, "'in.mp4' does not exist"),
        (MemoryError(), 2, "not enough memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("CUDA"), 2, "not enough memory"),
        (RuntimeError("CUDA error: out of memory"), 2, "not enough memory"),
        (RuntimeError("std::bad_alloc"), 2, "not enough memory"),
        (ModuleNotFoundError("no", name="torch"), 2, "pip install 'acf-edge[build]'"),
        (ModuleNotFoundError("no", name="onnx.helper"), 2, "pip install 'acf-edge[build]'"),
        (ModuleNotFoundError("no", name="aiohttp"), 2, "pip install 'acf-edge[web]'"),
    ],
)
def test_an_error_is_one_line_with_its_exit_code(
    error: BaseException, code: int, line: str, outcome: Callable[..., Outcome]
) -> None:
    found, out, err = outcome(raising(error))
    assert (found, out) == (code, "")
    assert line in err
    assert err.startswith("acf-edge: ")
    assert err.count("\n") == 1


def test_memory_that_a_library_cannot_get_is_no_bug(outcome: Callable[..., Outcome]) -> None:
    torch = pytest.importorskip("torch")
    code, out, err = outcome(lambda args: torch.empty(2**60, dtype=torch.uint8))
    assert (code, out) == (2, "")
    assert err.startswith("acf-edge: error: There is not enough memory") and err.count("\n") == 1


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("by zero"), ModuleNotFoundError("no", name="acf_edge.nowhere")]
)
def test_a_bug_is_one_line_that_tells_how_to_see_more(
    error: Exception, outcome: Callable[..., Outcome]
) -> None:
    code, _, err = outcome(raising(error))
    assert code == 70
    assert err.startswith(f"acf-edge: internal error: {type(error).__name__}: ")
    assert "ACF_EDGE_DEBUG=1" in err
    assert err.count("\n") == 1


def test_the_debug_variable_shows_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACF_EDGE_DEBUG", "1")
    monkeypatch.setattr(command, "load_verb", lambda name: a_verb(raising(ValueError("deep"))))
    assert command.main(["enhance"]) == 70
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_the_exit_code_is_the_verbs(outcome: Callable[..., Outcome]) -> None:
    assert outcome(lambda args: 1)[0] == 1
    assert outcome(lambda args: 0) == (0, "", "")


def test_options_cannot_be_abbreviated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "load_verb", lambda name: a_verb(lambda args: args.level))
    assert command.main(["enhance", "--level", "0"]) == 0
    assert command.main(["enhance", "--lev", "0"]) == 2
    assert "--lev" in capsys.readouterr().err


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(acf_edge.__file__).parent.parent,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_reader_that_goes_away_is_no_error(lines: int) -> None:
    code = f"""
import sys
from acf_edge.cli import enhance, main
enhance.add_arguments = lambda parser: None
enhance.run = lambda args: print("a line " * {lines}) or 0
sys.exit(main.main(["enhance"]))
"""
    reader, writer = os.pipe()
    os.close(reader)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=writer,
        stderr=subprocess.PIPE,
        cwd=Path(acf_edge.__file__).parent.parent,
        env=variables,
        check=False,
        timeout=120,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_python_m_runs_the_command() -> None:
    done = run_python("import runpy; runpy.run_module('acf_edge', run_name='__main__')")
    assert done.returncode == 2
    assert "usage: acf-edge" in done.stderr


def test_the_help_imports_nothing_heavy() -> None:
    code = """
import sys
from acf_edge.cli import main
assert main.main(["--help"]) == 0
heavy = {"numpy", "torch", "onnx", "onnxruntime", "av", "cv2", "rich"} & set(sys.modules)
assert not heavy, heavy
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_closed_streams_do_not_become_files(tmp_path: Path) -> None:
    """The first file that is opened must not get the number of stdout."""
    code = (
        "import os, sys; from acf_edge.cli import main; main.main(['--version']);"
        f"file = open({str(tmp_path / 'a')!r}, 'w'); sys.exit(file.fileno() < 3)"
    )
    closed = subprocess.run(f'"{sys.executable}" -c "{code}" <&- >&- 2>&-', shell=True)
    assert closed.returncode == 0


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", b"\\udcff \xc3\xb6"), ("ascii", b"\\udcff \\xf6")]
)
def test_names_that_are_no_text_can_be_printed(encoding: str, shown: bytes) -> None:
    code = (
        "import types; from acf_edge.cli import main;"
        "from rich.console import Console; verb = types.ModuleType('enhance');"
        "verb.NAME, verb.HELP, verb.EXAMPLE = 'enhance', 'x', 'x';"
        "verb.add_arguments = lambda parser: None;"
        "verb.run = lambda args: Console().print(chr(0xdcff), chr(0xf6)) or 0;"
        "main.load_verb = lambda name: verb; raise SystemExit(main.main(['enhance']))"
    )
    environment = {**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, shown, b"")
