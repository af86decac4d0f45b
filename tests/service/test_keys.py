"""The folder of keys and the command that keeps it."""

from __future__ import annotations

import os
import stat

import pytest
import zmq

from latticewatch.cli import main
from latticewatch.client.keys import KeyFileError, Keys, read_public, read_secret, write_public
from latticewatch.config import load_settings
from latticewatch.security import RIGHTS, Keyring
from latticewatch.service import Service

posix = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")


@pytest.fixture
def keyring(tmp_path):
    keyring = Keyring(tmp_path / "keys")
    keyring.new("service")
    return keyring


def test_a_peers_folder_holds_all_that_it_needs(keyring):
    public, secret = keyring.new("titan")
    keys = Keys.load(public.parent)
    assert (keys.public, keys.secret) == read_secret(secret)
    assert keys.service == keyring.pair()[0]
    assert keyring.allowed("publish") == {}


def test_a_secret_is_never_printed(keyring):
    keys = Keys.load(keyring.new("titan")[0].parent)
    assert keys.secret.decode() not in repr(keys)
    assert keys.secret.decode() not in str(keys)


@posix
def test_secrets_are_their_owners_alone(keyring):
    _, secret = keyring.new("titan")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    secret.chmod(0o640)
    with pytest.raises(KeyFileError, match=r"open to others \(mode 0640\): chmod 600"):
        Keys.load(secret.parent)


def test_allowing_and_revoking(keyring):
    key = read_public(keyring.new("titan")[0])
    keyring.allow("titan", key, ["publish", "control"])
    keyring.allow("titan", key, ["publish"])  # again: nothing changes
    assert [right for right in RIGHTS if key in keyring.allowed(right)] == ["publish", "control"]
    assert keyring.revoke("titan") == ["publish", "control"]
    assert keyring.revoke("titan") == []
    assert all(not keyring.allowed(right) for right in RIGHTS)


def test_a_name_belongs_to_one_key(keyring):
    keyring.allow("titan", zmq.curve_keypair()[0], ["publish"])
    with pytest.raises(KeyFileError, match="another key goes by 'titan'"):
        keyring.allow("titan", zmq.curve_keypair()[0], ["publish"])
    with pytest.raises(KeyFileError, match="exists already"):
        keyring.new("service")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 65, "a b", "ä"])
def test_names_are_plain_file_names(keyring, name):
    for do in (keyring.new, keyring.revoke, lambda n: keyring.allow(n, b"x" * 40, RIGHTS)):
        with pytest.raises(KeyFileError, match="is no name for keys"):
            do(name)


def test_what_is_no_key_is_told_by_file(keyring, tmp_path):
    short = tmp_path / "short.key"
    short.write_text('curve\n    public-key = "abc"\n')
    foreign = tmp_path / "foreign.key"
    foreign.write_text("hello\n")
    for path, reason in (
        (short, "is damaged"),
        (foreign, "is no key file"),
        (tmp_path / "none.key", "cannot be read"),
    ):
        with pytest.raises(KeyFileError, match=reason):
            read_public(path)
    public, _ = keyring.new("titan")
    with pytest.raises(KeyFileError, match="holds no secret key"):
        read_secret(public)
    with pytest.raises(KeyFileError, match="holds 0 files"):
        Keys.load(tmp_path)


@posix
def test_check_finds_what_is_wrong(keyring):
    key = read_public(keyring.new("titan")[0])
    keyring.allow("titan", key, ["publish"])
    let_in, wrong = keyring.check()
    assert let_in == [("titan", "publish")]
    assert [finding.mend for finding in wrong] == ["move it to the peer and delete it here"]
    for path in (keyring.folder / "peers" / "titan").iterdir():
        path.unlink()
    assert keyring.check() == (let_in, [])
    (keyring.folder / "publish").chmod(0o777)
    (keyring.folder / "publish" / "bad.key").write_text("x")
    (keyring.folder / "service.key").unlink()
    write_public(keyring.folder / "service.key", "service", zmq.curve_keypair()[0])
    told = " ".join(str(finding) for finding in keyring.check()[1])
    for part in ("others may write to", "bad.key is no key file", "do not belong together"):
        assert part in told


def test_the_command(tmp_path, capsys):
    folder = tmp_path / "keys"
    given = ["--dir", str(folder)]
    assert main(["keys", "new", "titan", *given]) == 1
    assert "latticewatch keys new service" in capsys.readouterr().err
    assert main(["keys", "new", "service", *given]) == 0
    assert main(["keys", "new", "titan", "--allow", "publish", *given]) == 0
    assert "titan may publish" in capsys.readouterr().out
    assert main(["keys", "check", *given]) == 1
    carried = folder / "peers" / "titan"
    carried.rename(tmp_path / "titan")
    assert main(["keys", "check", *given]) == 0
    assert main(["keys", "revoke", "titan", *given]) == 0
    assert main(["keys", "revoke", "titan", *given]) == 1
    key = str(tmp_path / "titan" / "titan.key")
    assert main(["keys", "allow", key, "subscribe", "control", *given]) == 0
    out = capsys.readouterr().out
    assert "titan may subscribe, control" in out
    assert read_secret(tmp_path / "titan" / "titan.key_secret")[1].decode() not in out


def test_a_peer_makes_its_own_pair(keyring, tmp_path, capsys):
    mine = tmp_path / "mine"
    assert main(["keys", "new", "anna", "--alone", "--dir", str(mine)]) == 0
    assert main(["keys", "new", "service", "--alone", "--dir", str(mine)]) == 2
    public = mine / "anna.key"
    assert main(["keys", "allow", str(public), "control", "--dir", str(keyring.folder)]) == 0
    with pytest.raises(KeyFileError, match=r"service\.key cannot be read"):
        Keys.load(mine)
    (mine / "service.key").write_bytes((keyring.folder / "service.key").read_bytes())
    assert Keys.load(mine).public in keyring.allowed("control")
    assert keyring.check()[1] == []


def test_a_service_without_keys_stays_on_loopback(tmp_path, capsys):
    given = ["serve", "--data", str(tmp_path), "--frames", "tcp://0.0.0.0:0"]
    assert main(given) == 1
    error = capsys.readouterr().err
    assert "latticewatch keys new service --dir KEYS" in error
    assert error.count("\n") == 1


def test_a_service_whose_folder_of_keys_is_empty_does_not_start(tmp_path):
    settings = load_settings(store={"data": tmp_path}, security={"keys": tmp_path})
    with pytest.raises(KeyFileError, match="latticewatch keys new service"):
        Service(settings)
