"""What a worker's options say of the processes that it starts, and where others find them."""

import socket

import pytest

from core.models import Device
from core.runs.capabilities import Capabilities
from spin_engine.config import JobConfig
from spin_engine.hyperparameters import Hyperparameters
from worker.team import Team, interface_of, source_address, team_for, threads_of

GPUS = Capabilities(device=Device.gpu, gpus=4)
CPU = Capabilities(device=Device.cpu)
URL = "sqlite:////state/spindle.db"


def asked(batch_size: int) -> Hyperparameters:
    told = {"type": "sft", "sft": {"hyperparameters": {"steps": 1, "batch_size": batch_size}}}
    return JobConfig.model_validate(
        {"model": "m", "training_data": "d", "method": told}
    ).method.hyperparameters


def team(has: Capabilities, **given: str | int) -> Team:
    options = {"processes": "auto", "address": "auto", "port": 0, "database_url": URL} | given
    return team_for(has, **options)  # type: ignore[arg-type]  # as from the command line


def test_a_training_gets_all_gpus_that_its_batch_can_be_shared_out_to() -> None:
    assert team(GPUS).processes == 4
    assert [team(GPUS).processes_for(asked(size)) for size in (8, 6, 5, 2)] == [4, 3, 1, 2]
    assert team(GPUS, processes="3").processes_for(asked(8)) == 3, "what was asked for is refused, not bent"
    assert team(CPU).processes == 1
    assert team(CPU, processes="2").processes == 2


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"processes": "many"}, "auto or a number"),
        ({"processes": "0"}, "auto or a number"),
        ({"processes": "5"}, "a GPU of its own, and there are 4"),
        ({"port": 70000}, "0 to 65535"),
    ],
)
def test_options_that_make_no_sense_are_refused(given: dict[str, str | int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        team(GPUS, **given)


def test_a_worker_is_found_where_it_reaches_the_database_from() -> None:
    assert source_address(URL) == "127.0.0.1"
    assert source_address("postgresql://u@127.0.0.1:5432/d") == "127.0.0.1"
    with pytest.raises(ValueError, match="--address cannot be found out"):
        source_address("postgresql://u@no-such-host.invalid/d")
    assert team(Capabilities(nodes=2), address="10.0.0.7").address == "10.0.0.7"


def test_processes_share_the_threads_and_meet_on_the_interface_of_the_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert interface_of("127.0.0.1") in {name for _, name in socket.if_nameindex()}
    assert interface_of("192.0.2.1") is None
    assert [threads_of({"OMP_NUM_THREADS": "8"}, processes=count) for count in (1, 3, 9)] == [8, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert threads_of({"OMP_NUM_THREADS": "5"}, processes=3) == 5
