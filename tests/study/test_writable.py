"""Where files and folders go: through links, into devices and pipes, refused before any work, and for one writer at a time."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aam_nb.study.atomic import NotWrittenError, scratch_folder, whole_file, whole_folder
from aam_nb.study.lock import FolderInUseError, lock_folder
from aam_nb.study.writable import check_writable_file, check_writable_folder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, pipes and devices")


def put(path: Path, text: str) -> None:
    with whole_file(path) as fresh:
        fresh.write_text(text)


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("nowhere")
    put(tmp_path / "link", "new")
    put(tmp_path / "dangling", "first")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "dangling").is_symlink()
    assert ((tmp_path / "real").read_text(), (tmp_path / "nowhere").read_text()) == ("new", "first")


def test_a_pipe_is_written_into_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    put(check_writable_file(pipe), "text\n" * 50_000)
    reader.join(10)
    assert read == ["text\n" * 50_000]
    assert pipe.is_fifo()


def test_devices_stay_devices() -> None:
    put(check_writable_file(Path("/dev/null")), "x")
    assert Path("/dev/null").is_char_device()
    if Path("/dev/full").exists():
        with pytest.raises(NotWrittenError, match=r"/dev/full cannot be written \(No space left"):
            put(Path("/dev/full"), "x")


def test_standard_output_that_is_a_file_is_written_on_from_where_it_is(tmp_path: Path) -> None:
    code = "from aam_nb.study.atomic import whole_file\nwith whole_file('/dev/stdout') as f: f.write_text('second')"
    with (tmp_path / "out").open("w") as out:
        out.write("first ")
        out.flush()
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "first second"


def test_what_cannot_be_written_is_refused_before_any_work_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(os.listdir(tmp_path))
    for path, why in (
        ("folder", "Is a directory"),
        ("file/x", "Not a directory"),
        ("loop", "Too many levels"),
        ("n" * 256, "File name too long"),
        ("new/" + "n" * 256, "File name too long"),
        ("nul\0", "null"),
    ):
        with pytest.raises(NotWrittenError, match=why):
            check_writable_file(tmp_path / path)
    for path, why in (("file", "Not a directory"), ("file/x", "Not a directory"), ("loop", "Too many levels")):
        for replaced in (False, True):
            with pytest.raises(NotWrittenError, match=why):
                check_writable_folder(tmp_path / path, replaced=replaced)
    with pytest.raises(NotWrittenError, match="mounted"):
        check_writable_folder("/proc", replaced=True)
    for path in ("a", "a/b/c", "n" * 255, "folder/x"):
        check_writable_file(tmp_path / path)
        check_writable_folder(tmp_path / path, replaced=True)
    assert sorted(os.listdir(tmp_path)) == before
    assert not os.listdir(tmp_path / "folder")


def test_the_cause_is_found_in_the_text_of_other_libraries(tmp_path: Path) -> None:
    for error in (
        RuntimeError(
            "Problems closing file (file write failed: errno = 28, error message = 'No space left on device')"
        ),
        OSError("[('a', 'b', '[Errno 28] No space left on device')]"),  # as shutil.copytree says it
        ValueError(f"{tmp_path}: I/O error (os error 28)"),
    ):
        with (
            pytest.raises(NotWrittenError, match=r"run cannot be written \(No space left"),
            whole_folder(tmp_path / "run", ()) as fresh,
        ):
            raise type(error)(str(error).replace(str(tmp_path), fresh.name))
    assert not os.listdir(tmp_path)


def test_a_link_that_leads_out_of_a_locked_folder_is_not_followed(tmp_path: Path) -> None:
    """What a stranger linked into a run is neither replaced nor removed: a file, a folder, and a folder above it."""
    precious, run = tmp_path / "precious", tmp_path / "run"
    (precious / "last").mkdir(parents=True)
    (precious / "letter").write_text("dear")
    run.mkdir()
    (run / "history.csv").symlink_to(precious / "letter")
    (run / "last").symlink_to(precious)
    (run / "checkpoints").symlink_to(precious)
    (run / "own").symlink_to("inside")
    (tmp_path / "alias").symlink_to("run")
    with lock_folder(tmp_path / "alias"):
        for place in (run, tmp_path / "alias"):
            with pytest.raises(NotWrittenError, match=r"history.csv leads out of .*, by a link, to .*letter"):
                put(place / "history.csv", "x")
            for name in ("last", "checkpoints/last", "checkpoints/new"):
                with pytest.raises(NotWrittenError, match="leads out of"), whole_folder(place / name, ["letter"]):
                    raise AssertionError("work was begun")
        put(run / "own", "a link inside the folder is followed")
    assert (precious / "letter").read_text() == "dear"
    assert sorted(os.listdir(precious)) == ["last", "letter"]
    assert sorted(os.listdir(run)) == ["checkpoints", "history.csv", "inside", "last", "own"]


def test_what_the_writer_does_not_own_is_kept_in_a_folder_that_is_replaced(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "notes" / "deep").mkdir(parents=True)
    (run / "notes" / "deep" / "a.md").write_text("mine")
    (run / "weights").write_text("old")
    (run / "scores").write_text("of the old weights")
    (run / "far").symlink_to(tmp_path)
    os.mkfifo(run / "pipe")
    with whole_folder(run, ("weights", "scores")) as fresh:
        (fresh / "weights").write_text("new")
    assert sorted(os.listdir(run)) == ["far", "notes", "weights"]
    assert (run / "notes" / "deep" / "a.md").read_text() == "mine"
    assert (run / "weights").read_text() == "new"
    assert (run / "far").is_symlink()


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    (tmp_path / "x").chmod(0o640)
    put(tmp_path / "x", "new")
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_only_what_nobody_writes_is_cleared(tmp_path: Path) -> None:
    """Names that share their first 100 bytes are told apart too."""
    long = "n" * 200
    for name in ("run", long):
        (tmp_path / f".{name[:100]}.01234567.new").mkdir()
    with whole_file(tmp_path / "run") as fresh:
        fresh.write_text("slow")
        put(tmp_path / "run", "quick")
        assert fresh.exists(), "a writer that lives keeps what it writes"
    assert (tmp_path / "run").read_text() == "slow"
    put(tmp_path / f"{long}x", "")
    assert sorted(os.listdir(tmp_path)) == sorted([f".{long[:100]}.01234567.new", f"{long}x", "run"])


def test_what_a_killed_writer_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom aam_nb.study.atomic import *\nfrom aam_nb.study.lock import lock_folder\n"
        "place = Path(sys.argv[1])\n"
        "with lock_folder(place), whole_file(place / 'a') as f, whole_folder(place / 'b', ()) as g, scratch_folder(place / 'c'):\n"
        "    f.write_text('x'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=False)
    assert len(os.listdir(tmp_path / "run")) == 3
    with lock_folder(tmp_path / "run"):
        assert not os.listdir(tmp_path / "run")
    with scratch_folder(tmp_path / "c") as folder:
        assert folder.is_dir()
    assert os.listdir(tmp_path) == ["run"]


def test_what_a_killed_probe_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    (tmp_path / ".probe.0123abcd.new").write_bytes(b"\0")
    (tmp_path / ".probe.4567abcd.new").mkdir()
    (tmp_path / ".probe.mine").touch()
    check_writable_file(tmp_path / "new" / "x.csv")
    assert [p.name for p in tmp_path.iterdir()] == [".probe.mine"]


def test_one_writer_at_a_time_and_none_after_it_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom aam_nb.study.lock import lock_folder\n"
        "with lock_folder(sys.argv[1]):\n    print('here', flush=True)\n    time.sleep(60)\n"
    )
    (tmp_path / "link").symlink_to("run")
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        with (
            pytest.raises(FolderInUseError, match=rf"is being written by process {holder.pid} on"),
            lock_folder(tmp_path / "link"),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with lock_folder(tmp_path / "run"), lock_folder(tmp_path / "link"):  # the same thread may
        pass
    assert os.listdir(tmp_path) == ["link"]


def test_a_file_system_without_locks_is_told_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refuse(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match="file system without locks"), lock_folder(tmp_path / "run"):
        put(tmp_path / "run" / "x", "text")
    assert (tmp_path / "run" / "x").read_text() == "text"
    assert os.listdir(tmp_path) == ["run"]
