"""Standard streams that are closed, full or read by nobody: no traceback, and nothing is lost
without a word."""

import os
import signal
import subprocess
import sys

import pytest

REFERENCE = ["--device", "reference", "--overlay", "b64"]
FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")

# Every verb, its help, and a wrong usage; PICTURE stands for one.
COMMANDS = {
    "infer": ["infer", "PICTURE", *REFERENCE],
    "infer -q": ["infer", "-q", "PICTURE", *REFERENCE],
    "infer --json": ["infer", "--json", "PICTURE", *REFERENCE],
    "bench": ["bench", "-n", "1", "--warmup", "0", *REFERENCE],
    "models list": ["models", "list"],
    "models verify": ["models", "verify"],
    "inspect": ["inspect", "tiny-w8", "--overlay", "b64"],
    "overlays list": ["overlays", "list"],
    "devices": ["devices", "--no-build"],
    "doctor": ["doctor", "-m", "tiny-w8", "--overlay", "b64"],
    "completion": ["completion", "bash"],
    "--help": ["--help"],
    "infer --help": ["infer", "--help"],
    "--version": ["--version"],
}
WRONG = {"wrong verb": ["infr"], "bad file": ["infer", "nowhere.jpg", *REFERENCE]}
each_command = pytest.mark.parametrize("name", COMMANDS)


@pytest.fixture
def redirected(shell, pictures):
    """Run a command under a shell's redirection; (its exit code, stdout, stderr)."""

    def run(name, redirection):
        arguments = [
            str(pictures / "a.png") if a == "PICTURE" else a for a in (COMMANDS | WRONG)[name]
        ]
        process = shell(*arguments, via=redirection)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    return run


@each_command
def test_a_closed_output_is_the_null_device(redirected, name):
    code, out, err = redirected(name, ">&-")
    assert (code, out) == (0, "")
    assert "Traceback" not in err
    assert "Error" not in err


@each_command
def test_answers_come_without_a_standard_error(redirected, name):
    code, out, _ = redirected(name, "2>&-")
    assert code == 0
    assert out.strip()


@pytest.mark.parametrize("name", WRONG)
def test_errors_without_a_standard_error_keep_their_exit_codes(redirected, name):
    assert redirected(name, "2>&-")[0] == redirected(name, "2>/dev/null")[0] != 0


def test_no_stream_at_all_is_no_reason_to_fail(redirected):
    assert redirected("infer", "<&- >&- 2>&-") == (0, "", "")


@FULL
@each_command
def test_an_answer_that_a_full_disk_loses_is_an_error_of_one_line(redirected, name):
    code, _, err = redirected(name, ">/dev/full")
    assert code == 1
    (line,) = err.splitlines()
    assert line == (
        "Error: standard output cannot be written (No space left on device); "
        "the answer is not complete"
    )


@FULL
@pytest.mark.parametrize("name", WRONG)
def test_errors_that_nobody_can_be_told_keep_their_exit_codes(redirected, name):
    assert redirected(name, "2>/dev/full")[0] == redirected(name, "2>/dev/null")[0] != 0


@each_command
def test_a_reader_that_has_left_ends_every_verb_in_silence(shell, pictures, name):
    read, write = os.pipe()
    os.close(read)
    arguments = [str(pictures / "a.png") if a == "PICTURE" else a for a in COMMANDS[name]]
    process = shell(*arguments, stdout=write)
    _, err = process.communicate(timeout=120)
    os.close(write)
    assert (process.returncode, err) == (141, "")


def test_a_picture_from_a_closed_standard_input_is_one_line(shell):
    process = shell("infer", "-", *REFERENCE, via="<&-")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    (line,) = err.splitlines()
    assert line.startswith("Error: -: standard input is closed")


def test_files_do_not_become_a_closed_standard_stream(shell, pictures):
    """The trace would be opened as descriptor 1 otherwise, and get what is printed."""
    trace = pictures / "t.json"
    process = shell(*COMMANDS["bench"], "--trace", trace, via=">&- 2>&-")
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert trace.read_text().startswith('{"traceEvents"')


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "latin-1"])
def test_letters_that_an_encoding_lacks_are_escaped(shell, pictures, encoding):
    (pictures / "a.png").rename(pictures / "語.png")
    for error in ([], ["gone-語.png"]):
        process = shell(
            "infer", pictures / "語.png", *error, *REFERENCE, env={"PYTHONIOENCODING": encoding}
        )
        out, err = process.communicate(timeout=60)
        assert process.returncode == len(error)
        assert "\\u8a9e.png" in out
        assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminal_that_goes_ends_a_command_as_kill_does(shell, number):
    process = shell("infer", "-", *REFERENCE, stdin=subprocess.PIPE)
    process.stdin.write("x" * 2**20)
    process.stdin.flush()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("", "", 128 + number)


def test_ctrl_c_before_a_verb_runs_is_an_interrupt_too(tmp_path):
    """click's own way is 'Aborted!' and 1."""
    code = (
        "import sys\n"
        "from quasar_runtime import cli\n"
        "from quasar_runtime.cli import app\n"
        "def interrupted(*_): raise KeyboardInterrupt\n"
        "app.LazyGroup.get_command = interrupted\n"
        "sys.argv = ['quasar', 'infer', 'x.jpg']\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "Interrupted\n")
