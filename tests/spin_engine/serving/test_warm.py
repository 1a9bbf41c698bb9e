"""What is kept in memory: measured, shared where it can be, and let go in the order of its use."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from spin_engine.families.family import Family
from spin_engine.families.loader import load
from spin_engine.sampler import draw
from spin_engine.serving import memory
from spin_engine.serving import warm as warm_module
from spin_engine.serving.warm import Warm
from spin_engine.weights import ADAPTER_FILE
from tests.spin_engine.serving.adapters import adapter, whole
from tests.tiny import build_pipeline

CPU = torch.device("cpu")
PLENTY = 1 << 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bases; on the first two adapters and a denoiser of its own."""
    made = tmp_path_factory.mktemp("warm")
    for name in ("base", "other"):
        build_pipeline(made / name)
    adapter(made / "base", made / "lora-a", seed=1)
    adapter(made / "base", made / "lora-b", seed=2, rank=4)
    whole(made / "base", made / "full", seed=3)
    return made


def drawn(family: Family) -> bytes:
    return draw(family, ["red circle"], [""], [7], steps=2, guidance=2.0)[0].tobytes()


def test_what_is_swapped_draws_what_is_loaded_by_itself(folder: Path) -> None:
    warm, base = Warm(limit=PLENTY, device=CPU), folder / "base"
    order = (None, folder / "lora-a", folder / "lora-b", None, folder / "full", folder / "lora-a", None)
    expected = {weights: drawn(load(base, weights)) for weights in set(order)}
    assert len(set(expected.values())) == 4  # they do differ
    for weights in order:
        assert drawn(warm.family(base, weights)) == expected[weights]


def test_adapters_stand_beside_one_base(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[Any] = []

    def counted(*arguments: Any) -> Family:
        loads.append(arguments)
        return load(*arguments)

    monkeypatch.setattr(warm_module, "load", counted)
    warm, base = Warm(limit=PLENTY, device=CPU), folder / "base"
    for name in ("lora-a", "lora-b", "lora-a"):
        family = warm.family(base, folder / name)
        drawn(family)
    assert len(loads) == 1
    assert warm.family(base, None) is family
    own = warm.family(base, folder / "full")
    assert own.denoiser is not family.denoiser
    assert vars(own)["_clip"] is vars(family)["_clip"]
    assert vars(own)["_vae"] is vars(family)["_vae"]
    assert len(loads) == 1


def test_sizes_are_measured_and_what_is_shared_is_counted_once(folder: Path) -> None:
    warm, base = Warm(limit=PLENTY, device=CPU), folder / "base"
    assert warm.bytes == 0
    drawn(warm.family(base, None))
    alone = warm.bytes
    on_disk = sum(path.stat().st_size for path in base.rglob("*.safetensors"))
    assert 0.6 * on_disk < alone < 1.1 * on_disk  # headers of many small tensors are not tensors
    drawn(warm.family(base, folder / "lora-a"))
    of_adapter = warm.bytes - alone
    layers = load_file(folder / "lora-a" / ADAPTER_FILE)
    assert of_adapter == sum(each.nbytes for each in layers.values())
    drawn(warm.family(base, folder / "full"))
    unet = memory.size_of(load(base).denoiser.parameters())
    assert warm.bytes - alone - of_adapter == unet


def test_the_least_recently_used_goes_first(folder: Path) -> None:
    base, other = folder / "base", folder / "other"
    measure = Warm(limit=PLENTY, device=CPU)
    drawn(measure.family(base, None))
    one = measure.bytes
    warm = Warm(limit=int(2.5 * one), device=CPU)
    for key in ((base, None), (base, folder / "lora-a"), (other, None)):
        drawn(warm.family(*key))
        warm.settle(*key)
    assert (base, folder / "lora-a") in warm
    drawn(warm.family(base, None))  # which is now used after its adapter and the other base
    drawn(warm.family(base, folder / "full"))
    warm.settle(base, folder / "full")
    assert (base, None) in warm
    assert (base, folder / "full") in warm
    assert (base, folder / "lora-a") not in warm
    assert warm.bytes <= warm.limit


def test_a_base_outlives_what_stands_on_it(folder: Path) -> None:
    base, other = folder / "base", folder / "other"
    warm = Warm(limit=PLENTY, device=CPU)
    drawn(warm.family(base, folder / "lora-a"))
    drawn(warm.family(other, None))
    warm.limit = 1
    warm.settle(other, None)
    assert len(warm) == 1
    assert (other, None) in warm
    assert drawn(warm.family(base, folder / "lora-a")) == drawn(load(base, folder / "lora-a"))


def test_the_one_that_is_asked_for_stays_whatever_it_takes(folder: Path) -> None:
    warm = Warm(limit=1, device=CPU)
    for weights in (folder / "lora-a", folder / "full", None):
        assert drawn(warm.family(folder / "base", weights)) == drawn(load(folder / "base", weights))
        warm.settle(folder / "base", weights)
        assert len(warm) == (1 if weights is None else 2)


def test_an_adapter_that_is_let_go_leaves_the_base_as_it_was(folder: Path) -> None:
    warm, base = Warm(limit=PLENTY, device=CPU), folder / "base"
    before = drawn(warm.family(base, None))
    held = warm.bytes
    for name in ("lora-a", "lora-b"):
        drawn(warm.family(base, folder / name))
    for name in ("lora-a", "lora-b"):
        warm.forget(base, folder / name)
    assert warm.bytes == held
    assert drawn(warm.family(base, None)) == before


def test_there_is_a_limit_where_none_was_set() -> None:
    host = memory.allowed(CPU)
    assert host > 64 << 20
    assert Warm(limit=0, device=CPU).limit == host
