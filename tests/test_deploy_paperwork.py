"""Keys, certificates, bundles and the audit log of a deployment: all that needs no server."""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from fedtiny.node.bundle import read_bundle
from fedtiny.node.farewell import farewell
from fedtiny.node.keys import load_key, make_key, read_public
from fedtiny.node.machine import board_name
from fedtiny.node.manifest import BundleError
from fedtiny.node.private import PrivateFileError, write_private
from fedtiny.node.request import RequestError, read_request
from fedtiny.node.running import check_bundle
from fedtiny.runs import checkpoint
from fedtiny.runs.event_json import to_json
from fedtiny.runs.event_parts import Failure, Traffic
from fedtiny.runs.events import Banned, Doubted, Exchanged
from fedtiny.runs.folder import RunFolder
from fedtiny.wire.phase import Phase
from sims.deploy import arrivals, audit, logs, processes, registry, superlink
from sims.deploy.cli import app
from sims.deploy.home import Home
from sims.deploy.progress import Follower
from sims.deploy.registry import Standing
from sims.deploy.trail import Trail

Deploy = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """Modes must be right under any umask: the most careless is tried."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def deploy(capsys: pytest.CaptureFixture[str]) -> Deploy:
    """Run a command: (status, standard output, standard error)."""

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ending:
            app([str(word) for word in words])
        out, err = capsys.readouterr()
        return int(ending.value.code or 0), out, err

    return run


@pytest.fixture
def home(deploy: Deploy, tmp_path: Path) -> Home:
    status, _, err = deploy("init", tmp_path / "fed", "--host", "127.0.0.1")
    assert status == 0, err
    return Home(tmp_path / "fed")


@pytest.fixture
def request_file(deploy: Deploy, tmp_path: Path) -> Path:
    device = tmp_path / "device"
    device.mkdir()
    assert deploy("request", "--name", "pi0", "--out", device)[0] == 0
    return device / "pi0.request"


@pytest.fixture
def bundle(deploy: Deploy, home: Home, request_file: Path) -> Path:
    status, _, err = deploy("approve", home.path, request_file, "--device", "pi_zero_2_w")
    assert status == 0, err
    return home.bundles / "pi0"


def test_private_files_are_private_whatever_the_umask(home: Home, request_file: Path) -> None:
    for path in (home.ca_key, home.server_key, request_file.with_suffix(".key"), home.audit):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700


def test_a_private_file_is_created_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mode when it is born, before anything else could be done to it."""
    born = []

    def fchmod(handle: int, mode: int) -> None:
        born.append(stat.S_IMODE(os.fstat(handle).st_mode))

    monkeypatch.setattr("os.fchmod", fchmod)
    write_private(tmp_path / "key", b"secret")
    assert born == [0o600]
    with pytest.raises(PrivateFileError, match="never overwritten"):
        write_private(tmp_path / "key", b"other")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PrivateFileError):
        write_private(tmp_path / "link", b"other")
    assert not (tmp_path / "elsewhere").exists()


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(PrivateFileError, match="chmod 600"):
        load_key(tmp_path / "key")


def test_the_server_certificate_is_what_devices_check(home: Home) -> None:
    """OpenSSL's own verdict, by a client in this process on a server in this process."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(home.server_certificate, home.server_key)
    for name, fits in (("127.0.0.1", True), ("localhost", True), ("example.org", False)):
        client = ssl.create_default_context(cafile=str(home.ca_certificate))
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        one = client.wrap_bio(to_client, to_server, server_hostname=name)
        other = server.wrap_bio(to_server, to_client, server_side=True)
        assert shakes_hands(one, other) == fits


def shakes_hands(client: ssl.SSLObject, server: ssl.SSLObject) -> bool:
    done = 0
    while done < 2:
        done = 0
        for side in (client, server):
            try:
                side.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return False
    return True


def test_a_bundle_holds_no_private_key_and_is_signed(bundle: Path, request_file: Path) -> None:
    key = request_file.with_suffix(".key")
    read = read_bundle(bundle)
    check_bundle(read, key)
    assert read.settings.device == "pi_zero_2_w"
    assert read.settings.partition == 0
    for path in bundle.iterdir():
        assert b"PRIVATE" not in path.read_bytes()
        assert key.read_bytes()[100:140] not in path.read_bytes()


@pytest.mark.parametrize(
    "name",
    ["node.json", "ca.crt", "install.sh", "fedtiny-node.service", "manifest.json", "manifest.sig"],
)
@pytest.mark.parametrize("harm", ["flip", "cut", "delete"])
def test_an_edited_bundle_is_refused(bundle: Path, name: str, harm: str) -> None:
    path = bundle / name
    content = bytearray(path.read_bytes())
    if harm == "delete":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(content[:-5])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    with pytest.raises(BundleError):
        read_bundle(bundle)


def test_a_bundle_with_an_added_file_is_refused(bundle: Path) -> None:
    (bundle / "extra.sh").write_text("echo", encoding="utf-8")
    with pytest.raises(BundleError, match=r"extra.sh is not part of it.*renew"):
        read_bundle(bundle)


def test_a_bundle_of_another_federation_is_refused(
    bundle: Path, deploy: Deploy, tmp_path: Path
) -> None:
    deploy("init", tmp_path / "other", "--host", "127.0.0.1", "--json")
    told = json.loads((tmp_path / "other/audit.jsonl").read_text(encoding="utf-8").splitlines()[0])[
        "authority"
    ]
    with pytest.raises(BundleError, match="not made by your operator"):
        read_bundle(bundle, told)


def test_an_expired_bundle_is_refused_and_renewed(
    home: Home, bundle: Path, request_file: Path, deploy: Deploy
) -> None:
    node = registry.load(home, "pi0")
    past = datetime.now(UTC) - timedelta(days=2)
    registry.save(home, node.model_copy(update={"valid_until": past}))
    from sims.deploy.admission import job_of
    from sims.deploy.bundle import write_bundle

    write_bundle(home, registry.load(home, "pi0"), job_of(home))
    with pytest.raises(Exception, match="renew DIR --node pi0"):
        check_bundle(read_bundle(bundle), request_file.with_suffix(".key"))
    status, _, err = deploy("add-node", home.path, "pi0")
    assert status == 2
    assert "has expired" in err
    assert deploy("renew", home.path, "--node", "pi0")[0] == 0
    check_bundle(read_bundle(bundle), request_file.with_suffix(".key"))


def test_anothers_key_does_not_fit_the_bundle(bundle: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "mine")
    with pytest.raises(Exception, match="another device's bundle, or key"):
        check_bundle(read_bundle(bundle), tmp_path / "mine")


@pytest.mark.parametrize("field", ["name", "public_key", "board", "ram_bytes", "python"])
def test_a_changed_request_is_refused(request_file: Path, field: str) -> None:
    tree = json.loads(request_file.read_text(encoding="utf-8"))
    if field == "public_key":
        make_key(request_file.with_name("thief"))
        from fedtiny.node.keys import public_text

        thief = load_key(request_file.with_name("thief")).public_key()
        tree[field] = public_text(thief)
    else:
        tree[field] = tree[field] + 1 if field == "ram_bytes" else f"{tree[field]}x"
    request_file.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(RequestError, match="was changed"):
        read_request(request_file)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"format": 1}', '{"format": 9}', "\x00\x01", '"x"']
)
def test_what_is_no_request_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.request").write_text(text, encoding="utf-8")
    with pytest.raises(RequestError):
        read_request(tmp_path / "x.request")


REFUSED = {
    "twice": (["approve", "FED", "REQUEST"], "there is a node called pi0"),
    "no such node": (["add-node", "FED", "pi9"], "there are: pi0"),
    "no such folder": (["status", "NOWHERE"], "is no deployment"),
    "full": (["init", "FED", "--host", "127.0.0.1"], "is not empty"),
    "url": (["init", "NEW", "--host", "https://x:1"], "without https:// or port"),
    "bad name": (["request", "--name", "../x", "--out", "OUT"], "use 1 to 31 of a-z"),
    "key again": (["request", "--name", "pi0", "--out", "OUT"], "never overwritten"),
    "no folder": (["request", "--name", "pi1", "--out", "NOWHERE"], "is no folder"),
    "not running": (["add-node", "FED", "pi0"], "is not running"),
    "run without server": (["run", "FED"], "is not running"),
    "count": (["up", "FED", "--local", "5"], "the job is for 3 nodes"),
    "no log": (["logs", "FED", "pi0"], "journalctl -u fedtiny-node"),
    "no revoke": (["revoke", "FED", "nobody"], "there are: pi0"),
    "port": (["init", "NEW", "--host", "x", "--port", "70000"], "70000"),
    "no config": (["init", "NEW", "--host", "x", "--config", "NOWHERE"], "cannot read config"),
    "bad set": (["init", "NEW", "--host", "x", "--set", "data.sorce=1"], "did you mean"),
    "clock": (
        ["init", "NEW", "--host", "x", "--config", "sims/configs/timed_watch.toml", "--nodes", "8"],
        "real devices have a time of their own",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("as_json", [False, True])
def test_user_errors_are_sentences_with_status_2(
    case: str,
    as_json: bool,
    home: Home,
    bundle: Path,
    request_file: Path,
    deploy: Deploy,
    tmp_path: Path,
) -> None:
    words, part = REFUSED[case]
    places = {
        "FED": home.path,
        "REQUEST": request_file,
        "OUT": request_file.parent,
        "NOWHERE": tmp_path / "nowhere",
        "NEW": tmp_path / "new",
    }
    line = [*(places.get(word, word) for word in words), *["--json"] * as_json]
    status, _, err = deploy(*line)
    assert status == 2, err
    assert part in " ".join(err.split())
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--partition", "3"], "partitions 0 to 2"),
        (["--partition", "-1"], "partitions 0 to 2"),
        (["--device", "nrf52840"], "does not train"),
        (["--device", "toaster"], "toaster"),
        (["--data", "mine.npz"], "absolute path"),
        (["--data", '/a b"c'], "absolute path"),
        (["--fingerprint", "SHA256:abc"], "not the one that the device made"),
    ],
)
def test_what_cannot_be_approved_leaves_nothing(
    words: list[str], part: str, home: Home, request_file: Path, deploy: Deploy
) -> None:
    status, _, err = deploy("approve", home.path, request_file, *words)
    assert status == 2
    assert part in " ".join(err.split())
    assert list(home.nodes.iterdir()) == list(home.bundles.iterdir()) == []


def test_a_revoked_key_never_comes_back(
    home: Home, bundle: Path, request_file: Path, deploy: Deploy
) -> None:
    assert deploy("revoke", home.path, "pi0")[0] == 0
    for words in (
        ["approve", home.path, request_file],
        ["add-node", home.path, "pi0"],
        ["renew", home.path, "--node", "pi0"],
    ):
        status, _, err = deploy(*words)
        assert status == 2
        assert "revoked" in err
    other = request_file.parent / "pi1.request"
    assert deploy("request", "--name", "pi1", "--out", request_file.parent)[0] == 0
    assert deploy("approve", home.path, other)[0] == 0, "its partition is free again"


def test_expiry_is_shown_and_warned_of(home: Home, deploy: Deploy) -> None:
    from sims.deploy.authority import issue_server_certificate

    found = json.loads(deploy("status", home.path, "--json")[1])
    assert found["server_days"] in (364, 365)
    issue_server_certificate(home, "127.0.0.1", days=20)
    assert "warning: the server's certificate expires in 19 days" in deploy("status", home.path)[2]
    issue_server_certificate(home, "127.0.0.1", days=-2)
    assert "expired 2 days ago" in deploy("status", home.path)[2].replace("3 days", "2 days")
    status, _, err = deploy("up", home.path)
    assert status == 2
    assert "renew" in err


def test_a_port_in_use_is_named(home: Home) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Exception, match=rf"{port}.*--port"):
            superlink.check_port("127.0.0.1", port)


def test_every_act_is_in_the_audit_log(home: Home, bundle: Path, deploy: Deploy) -> None:
    deploy("renew", home.path)
    deploy("renew", home.path, "--node", "pi0")
    deploy("revoke", home.path, "pi0")
    lines = audit.entries(home)
    assert [one["act"] for one in lines] == ["init", "approve", "renew", "renew", "revoke"]
    for one in lines:
        assert datetime.fromisoformat(one["time"]).tzinfo is not None
        assert one["user"]


def test_the_installer_is_a_shell_script_and_the_unit_a_unit(bundle: Path) -> None:
    subprocess.run(["sh", "-n", bundle / "install.sh"], check=True)
    unit = (bundle / "fedtiny-node.service").read_text(encoding="utf-8")
    budget = 400 * 2**20 + 32 * 2**20  # Flower's share, and that of a Zero 2 W's training step
    for line in (
        "Restart=always",
        f"MemoryMax={budget}",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "User=fedtiny",
        "WatchdogSec=120",
    ):
        assert line in unit.splitlines()


def test_the_installer_changes_nothing_without_its_arguments(bundle: Path) -> None:
    done = subprocess.run(["sh", bundle / "install.sh"], capture_output=True, encoding="utf-8")
    assert done.returncode == 2
    assert "usage: sudo sh install.sh KEY FINGERPRINT" in done.stderr


def test_a_device_needs_neither_torch_nor_ray_nor_flower_to_ask_to_be_let_in() -> None:
    """What `request` and `fedtiny node` import."""
    code = (
        "import sys, sims.deploy.cli, fedtiny.cli, fedtiny.node.commands;"
        "heavy = {'torch', 'ray', 'flwr', 'pandas', 'matplotlib', 'scipy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, encoding="utf-8"
    )
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("Raspberry Pi Zero 2 W Rev 1.0\0", "pi_zero_2_w"),
        ("Raspberry Pi 4 Model B Rev 1.5\0", "pi_4"),
        ("Raspberry Pi 5 Model B Rev 1.0\0", "pi_5"),
        ("Raspberry Pi 3 Model B\0", ""),
        ("", ""),
    ],
)
def test_boards_are_recognised_by_their_device_tree(tmp_path: Path, model: str, name: str) -> None:
    (tmp_path / "model").write_text(model, encoding="utf-8")
    assert board_name(tmp_path / "model") == name


@pytest.mark.parametrize(
    ("log", "status", "part"),
    [
        ("Exit Code: 305\n[code: 2004] Node activation", 1, "does not accept this node's key"),
        ("SuperNode terminated gracefully.", 0, "no longer accepts this node"),
        ("OSError: [Errno 28] No space left on device", 1, "the disk is full"),
        ("address already in use", 1, "--port"),
        ("", -9, "killed by signal 9"),
        ("?", 7, "status 7"),
    ],
)
def test_a_node_that_ends_says_why(log: str, status: int, part: str) -> None:
    assert part in farewell(log, status)


def test_only_what_was_started_is_ended(home: Home) -> None:
    """A process whose id was given to another one since is left alone."""
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        sleeper = [sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '60'])"]
        started = processes.start(home, "sleeper", sleeper, {})
        assert processes.running(home, "sleeper") == started
        for ticks, mark in ((started.ticks - 1, started.mark), (started.ticks, "another")):
            reused = processes.Started("sleeper", bystander.pid, ticks, mark)
            assert not reused.alive
        reused = processes.Started("other", bystander.pid, started.ticks, "another")
        assert processes.end(home, [reused]) == []
        assert bystander.poll() is None
        assert started.alive
        assert processes.end(home, [started]) == ["sleeper"]
        assert not started.alive
        assert processes.recorded(home) == []
    finally:
        bystander.kill()
        bystander.wait()


REFUSED_LINE = (
    "ERROR : [/v1/fleet/activate-node][ApiError:2004] Attempted to register SuperNode with public "
    "key: {key!r}, exception: No SuperNode found with the given public key.\n"
)


@pytest.mark.parametrize(
    ("standing", "node_id", "reason"),
    [
        ("approved", 7, "a key that another SuperNode uses"),
        ("approved", 0, "approved, but not added"),
        ("revoked", 7, "a revoked key"),
        ("", 0, "never approved"),
    ],
)
def test_joins_and_refusals_are_audited_once(
    home: Home, bundle: Path, standing: str, node_id: int, reason: str
) -> None:
    node = registry.load(home, "pi0")
    pem = read_public(node.public_key, "").public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    if standing:
        changes = {"standing": Standing(standing), "node_id": node_id}
        registry.save(home, node.model_copy(update=changes))
    else:
        (home.nodes / "pi0.json").unlink()
    home.logs.mkdir(parents=True)
    line = REFUSED_LINE.format(key=pem)
    with processes.log_file(home, "superlink").open("w", encoding="utf-8") as log:
        log.write(f"noise\n{line}[Fleet.ActivateNode] Activated node_id=7\nhalf a line")
        log.flush()
        refused, joined = arrivals.collect(home)
        assert (refused["act"], joined["act"]) == ("refuse", "join")
        assert reason in refused["reason"]
        assert refused["fingerprint"] == node.fingerprint
        assert joined["node_id"] == 7
        assert arrivals.collect(home) == []
        log.write("\n" + line.replace("BEGIN PUBLIC", "?"))
        log.flush()
        assert [one["fingerprint"] for one in arrivals.collect(home)] == [""]


def test_offenders_and_checkpoints_are_audited_as_they_come(home: Home, bundle: Path) -> None:
    folder = RunFolder(home.results)
    checkpoint.write(folder.checkpoints / "round-00001.safetensors", {}, {})
    folder.metrics.touch()
    trail = Trail(home, folder)
    follower = Follower(folder, lambda _: None, trail.note)
    lost, lied = Failure(1, "lost"), Failure(0, "values: contains NaN", refused=True)
    events = (
        Exchanged(2, Phase.TRAIN, 2, 0, NOTHING, NOTHING, (lost, lied), 1.0),
        Doubted(2, Phase.TRAIN, 0, "its update is 100 times the median"),
        Banned(2, 0, 2),
    )
    with folder.metrics.open("w", encoding="utf-8") as metrics:
        metrics.writelines(json.dumps(to_json(event)) + "\n" for event in events)
    second = folder.checkpoints / "round-00002.safetensors"
    checkpoint.write(second, {}, {})
    for _ in range(2):
        follower.look()
        trail.look()
    refused, doubted, banned, written = audit.entries(home)[2:]
    assert (refused["act"], refused["node"], refused["round"]) == ("refuse reply", "pi0", 2)
    assert (doubted["act"], doubted["reason"]) == ("doubt reply", events[1].reason)
    assert (banned["act"], banned["offences"]) == ("ban", 2)
    assert (written["act"], written["file"]) == ("checkpoint", second.name)
    assert written["sha256"] == hashlib.sha256(second.read_bytes()).hexdigest()


def test_logs_are_shown_without_their_colours(home: Home) -> None:
    home.logs.mkdir(parents=True)
    processes.log_file(home, "pi0").write_text("\x1b[92mINFO \x1b[0m: sent\n", encoding="utf-8")
    assert logs.tail(home, "pi0", 5) == ["INFO : sent"]


NOTHING = Traffic(0, 0, {})
