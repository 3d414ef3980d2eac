"""The frame of the command line: its help is light, and every failure is one line and an exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import edgecnn
from edgecnn.cli.main import VERBS, Verb, main

ROOT = Path(edgecnn.__file__).parent.parent
SAMPLES = ("fail", "leave", "wait", "chatter", "document")
CHILD = f"""
import sys
from edgecnn.cli import main
for name in {SAMPLES}:
    main.VERBS[name] = main.Verb("tests.cli.sample_verbs:" + name, "")
main.entry()
"""
LIGHT = """
import sys
from edgecnn.cli.main import main
code = main(sys.argv[1:])
heavy = {"numpy", "PIL", "torch", "torchvision", "sklearn", "matplotlib", "ai_edge_litert", "litert_torch", "onnx"}
print(code, sorted(heavy & set(sys.modules)), [name for name in sys.modules if name.startswith("edgecnn.cli.")])
"""


@pytest.fixture(autouse=True)
def sample_verbs(monkeypatch):
    for name in SAMPLES:
        monkeypatch.setitem(VERBS, name, Verb(f"tests.cli.sample_verbs:{name}", f"Sample {name}."))


def child(*words, **settings):
    """Start the command line, sample verbs included, in a process of its own."""
    command = [sys.executable, "-c", CHILD, *words]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | settings
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.Popen(command, cwd=ROOT, env=buffered, **pipes)


def fails_with_one_line(capsys, words):
    """Run the command line in this process; return its exit code and the one line on standard error."""
    code = main(words)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    return code, err.rstrip("\n")


def test_help_lists_every_verb_with_its_line(capsys):
    assert main(["--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, verb in VERBS.items():
        assert f"{name} {verb.help}" in text


def test_no_words_at_all_show_the_help(capsys):
    assert main([]) == 0
    assert "quantize" in capsys.readouterr().out


def test_help_imports_nothing_heavy_and_no_verb():
    run = subprocess.run([sys.executable, "-c", LIGHT, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "0 [] ['edgecnn.cli.main']"


@pytest.mark.parametrize("verb", [name for name in VERBS if name not in SAMPLES])
def test_a_verbs_help_imports_nothing_heavy(verb):
    run = subprocess.run(
        [sys.executable, "-c", LIGHT, verb, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1].startswith("0 [] "), run.stdout + run.stderr


def test_version_as_module():
    run = subprocess.run([sys.executable, "-m", "edgecnn", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, f"edgecnn {edgecnn.__version__}\n", "")


def test_an_unknown_verb_names_the_nearest(capsys):
    code, line = fails_with_one_line(capsys, ["quantise"])
    assert code == 2
    assert line.startswith("edgecnn: error: unknown verb 'quantise'; did you mean 'quantize'?")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--versoin"], "'--version'"),
        (["document", "--modle", "lenet"], "'--model'"),
        (["document"], "Missing option '--model' (see 'edgecnn document --help')"),
        (["document", "--model", "lenet", "extra"], "extra"),
        (["document", "--model", "lenet", "--bad", "gte"], "'gte' is not one of 'gate', 'nan', 'nothing'"),
        (["--", "-x"], "-x"),
    ],
)
def test_words_that_make_no_request_are_a_usage_error(capsys, words, part):
    code, line = fails_with_one_line(capsys, words)
    assert code == 2
    assert line.startswith("edgecnn: error: ")
    assert part in line
    assert "--help')" in line


@pytest.mark.parametrize(
    ("kind", "code"), [("EdgeCNNError", 1), ("UsageError", 2), ("CheckFailedError", 1), ("UntrustworthyError", 3)]
)
def test_an_error_raised_on_purpose_has_its_own_exit_code(capsys, kind, code):
    assert fails_with_one_line(capsys, ["fail", kind]) == (code, "edgecnn: error: what arrived")


def test_what_the_system_refuses_is_named_and_is_no_internal_error(capsys):
    assert fails_with_one_line(capsys, ["fail", "denied"]) == (2, "edgecnn: error: /some/file: Permission denied")


def test_a_message_of_several_lines_becomes_one(capsys):
    assert fails_with_one_line(capsys, ["fail", "lines"]) == (2, "edgecnn: error: first half, second half")


@pytest.mark.parametrize(
    ("kind", "what"), [("internal", "ZeroDivisionError: by nought and more"), ("silent", "AssertionError")]
)
def test_any_other_exception_is_an_internal_error(capsys, kind, what):
    line = f"edgecnn: internal error: {what} (run again with --debug for the traceback)"
    assert fails_with_one_line(capsys, ["fail", kind]) == (1, line)


@pytest.mark.parametrize("words", [["--debug", "fail", "internal"], ["fail", "--debug", "internal"]])
def test_debug_anywhere_shows_the_traceback_before_the_line(capsys, words):
    assert main(words) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Traceback")
    assert "sample_verbs.py" in "".join(lines)
    assert lines[-1].startswith("edgecnn: internal error: ZeroDivisionError")


def test_after_a_bare_double_dash_debug_is_an_argument(capsys):
    code, line = fails_with_one_line(capsys, ["fail", "--", "--debug"])
    assert (code, line) == (2, "edgecnn: error: got --debug as an argument")


def test_on_a_light_install_a_verb_names_the_extra_it_needs(capsys, monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [])
    monkeypatch.setattr(sys, "modules", {name: sys.modules[name] for name in sys.modules if name != "torch"})
    code, line = fails_with_one_line(capsys, ["fail", "torch"])
    assert code == 2
    assert "'edgecnn fail' needs the package 'torch'" in line
    assert "pip install 'edgecnn[train]'" in line


def test_another_module_that_is_missing_is_an_internal_error(capsys):
    code, line = fails_with_one_line(capsys, ["fail", "no_such_module_at_all"])
    assert code == 1
    assert line.startswith("edgecnn: internal error: ModuleNotFoundError")


def test_a_verb_may_end_with_an_exit_code_of_its_own(capsys):
    assert main(["leave"]) == 7
    assert capsys.readouterr().err == ""


def test_interrupted_by_its_own_means(capsys):
    assert fails_with_one_line(capsys, ["fail", "interrupt"]) == (130, "edgecnn: interrupted")


def test_control_c_ends_a_running_verb_with_one_line():
    with child("wait") as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    assert (process.returncode, out, err) == (130, "", "edgecnn: interrupted\n")


def test_a_reader_that_leaves_ends_the_verb_quietly():
    with child("chatter") as process:
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("words", "code"), [("--version", 0), ("no-such-verb", 2)])
def test_what_is_written_nowhere_changes_no_exit_code(words, code, closed):
    run = subprocess.run(["sh", "-c", f"exec {sys.executable} -m edgecnn {words} {closed}"], cwd=ROOT,
                         capture_output=True, text=True)  # fmt: skip
    assert run.returncode == code
    assert "Traceback" not in run.stderr and "internal error" not in run.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["--version"], ["chatter"], ["document", "--model", "lenet", "--json"]])
def test_a_full_disk_under_standard_output_is_one_line(words):
    with Path("/dev/full").open("w") as full, child(*words, stdout=full) as process:
        err = process.stderr.read()
    assert process.returncode == 2
    assert err.splitlines()[-1].startswith("edgecnn: error: cannot write standard output")
    assert "Exception ignored" not in err
    assert "No space left on device" in err.splitlines()[-1]


def test_json_keeps_standard_output_for_the_document():
    with child("document", "--model", "lenet", "--json") as process:
        out, err = process.communicate()
    assert process.returncode == 0
    assert json.loads(out) == {
        "model": "lenet", "data": "auto", "out": "None", "force": False, "as_json": True, "bad": None, "number": 1,
    }  # fmt: skip
    for noise in ("from Python", "from click", "from C", "from a child", "late noise"):
        assert noise in err


def test_without_json_the_noise_stays_on_standard_output():
    with child("document", "--model", "lenet", "--out", "there", "--force") as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "noise from C" in out


def test_a_failed_check_still_prints_its_document():
    with child("document", "--model", "lenet", "--json", "--bad", "gate") as process:
        out, err = process.communicate()
    assert process.returncode == 1
    assert json.loads(out)["model"] == "lenet"
    assert err.splitlines()[-1] == "edgecnn: error: the gate said no"


def test_a_number_that_json_does_not_have_is_refused():
    with child("document", "--model", "lenet", "--json", "--bad", "nan") as process:
        out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert "internal error: ValueError" in err


def test_a_verb_that_forgets_its_document_fails():
    with child("document", "--model", "lenet", "--json", "--bad", "nothing") as process:
        out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert "ended without print_json()" in err


def test_a_line_that_does_not_parse_leaves_standard_output_as_it_was(capfd):
    assert main(["document", "--json", "--model", "lenet", "--bad", "gte"]) == 2
    assert main(["--version"]) == 0
    out, err = capfd.readouterr()
    assert out.startswith("edgecnn ")
    assert err.count("\n") == 1
