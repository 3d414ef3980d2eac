"""Training under quantization: resumable, frozen late, and nothing of it lost in the graph that is exported."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from edgecnn import checkpoint, models
from edgecnn.checkpoint import Header
from edgecnn.data.augment import Augmentation, to_input
from edgecnn.errors import BadFileError, UsageError
from edgecnn.evaluate import predictor
from edgecnn.models import ModelArguments, Normalization
from edgecnn.models.normalization import attach
from edgecnn.quantize import dropout, passes, ptq, qat
from edgecnn.quantize.floats import float_layers_of
from edgecnn.quantize.graph import module_of
from edgecnn.quantize.passes.pool import PoolConv2d
from edgecnn.quantize.qat import Trained
from edgecnn.quantize.recipe import STATIC_W4A8, STATIC_W8A8, Recipe
from edgecnn.quantize.simulate import (
    ActivationQuantizer,
    Affine,
    AverageQuantizer,
    QuantizedConv2d,
    QuantizedLinear,
)
from edgecnn.train import CHECKPOINT, WEIGHTS, TrainRecipe, train
from tests import nets, own_nets
from tests.train import small
from tests.train.stopping import stop_after

ALL = tuple(passes.PASSES)
MODEL = "depthwise"


@cache
def floats() -> tuple[nn.Module, Header]:
    """A model that saw a few images, so that its BatchNorm statistics are of something."""
    data = small.dataset()
    height, width, channels = data.image
    torch.manual_seed(0)
    arguments = ModelArguments(3, channels, (height, width))
    model = models.create(MODEL, arguments)
    images = data.train.take(np.arange(100))[0]
    with torch.no_grad():
        for _ in range(20):
            model(torch.from_numpy(images).permute(0, 3, 1, 2).float().sub(128).div(64))
    recipe = {"augmentation": {"shift": 1, "flip": False, "cutout": 3}, "label_smoothing": 0.1}
    return model.eval(), Header(MODEL, arguments, data.name, data.classes, recipe)


def recipe(**changes: Any) -> TrainRecipe:
    return qat.settings(floats()[1], **({"epochs": 4, "batch_size": 32} | changes))


def trained(
    out: Path, settings: TrainRecipe | None = None, *, rewrites: tuple[str, ...] = ALL, resume: bool = False,
    quantized: Recipe = STATIC_W8A8, ranges: str = qat.FOLLOWING,
) -> Trained:  # fmt: skip
    model, header = floats()
    data = small.dataset()
    images = [data.train.take(np.arange(50))[0]]
    return qat.train(
        model, header, data, images, settings or recipe(), out, rewrites=rewrites, device="cpu", resume=resume,
        quantized=quantized, ranges=ranges,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole run under all rewrites."""
    folder = tmp_path_factory.mktemp("qat")
    trained(folder)
    return folder


def load(folder: Path, name: str = WEIGHTS) -> Trained:
    return Trained.load(folder / name, *floats())


def ranges(tensors: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value) for name, value in tensors.items() if name.endswith((".low", ".high"))}


def test_values_are_dropped_as_in_the_float_training(run: Path, tmp_path: Path) -> None:
    _, header = floats()
    settings = qat.settings(replace(header, recipe=header.recipe | {"dropout": 0.0}), epochs=4, batch_size=32)
    trained(tmp_path, settings)
    assert not small.same(small.tensors(run), small.tensors(tmp_path)), "whose model drops"


def test_images_are_augmented_and_labels_smoothed_as_in_the_float_training() -> None:
    settings = qat.settings(floats()[1], epochs=7)
    assert settings.augmentation == Augmentation(shift=1, flip=False, cutout=3)
    assert (settings.label_smoothing, settings.epochs) == (0.1, 7)
    with pytest.raises(UsageError, match="learning rate is 0, but must be above 0"):
        qat.settings(floats()[1], learning_rate=0)


@pytest.mark.parametrize(("before", "then"), [(None, 0.5), (0.2, 0.5), (0.9, 0.9)])
def test_what_a_teacher_taught_is_not_left_to_the_labels(before: float | None, then: float) -> None:
    _, header = floats()
    learned = {} if before is None else {"distillation": before}
    assert qat.settings(replace(header, recipe=header.recipe | learned)).distillation == then


def test_a_run_stopped_after_any_epoch_and_resumed_ends_with_the_same_bits(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for epochs in (1, 3):  # ranges follow, ranges are frozen
        folder = tmp_path / str(epochs)
        with monkeypatch.context() as patch:
            stop_after(epochs, patch)
            with pytest.raises(KeyboardInterrupt):
                trained(folder)
        assert not (folder / WEIGHTS).exists()
        assert checkpoint.load(folder / CHECKPOINT)[0].training["epochs"] == epochs
        with pytest.raises(BadFileError, match="checkpoint of an unfinished training; go on with --qat --resume"):
            Trained.load(folder / CHECKPOINT, *floats())
        trained(folder, resume=True)
        assert small.same(small.tensors(folder), small.tensors(run))


def test_another_seed_gives_other_weights(run: Path, tmp_path: Path) -> None:
    trained(tmp_path, recipe(seed=1))
    assert not small.same(small.tensors(tmp_path), small.tensors(run))


def test_other_rewrites_or_other_float_weights_are_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path)
    with pytest.raises(UsageError, match=r"its rewrites is \[.*\], this run's is \['pool_as_conv'\]; use the same"):
        trained(tmp_path, rewrites=("pool_as_conv",), resume=True)
    monkeypatch.setattr(checkpoint, "digest", lambda model: 64 * "f")
    with pytest.raises(UsageError, match="its float weights is .*, this run's is ffff"):
        trained(tmp_path, resume=True)


def test_ranges_start_as_calibrated_follow_the_batches_and_stay_in_the_second_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, header = floats()
    start = ptq.calibrate(model, header.arguments, [small.dataset().train.take(np.arange(50))[0]], ALL)
    found = [ranges(start.state_dict())]
    for epoch in (1, 2, 3):
        with monkeypatch.context() as patch:
            stop_after(epoch, patch)
            with pytest.raises(KeyboardInterrupt):
                trained(tmp_path, resume=epoch > 1)
        live = {name.removeprefix("model."): tensor for name, tensor in small.tensors(tmp_path, CHECKPOINT).items()}
        found.append({name: value for name, value in ranges(live).items() if name in found[0]})
    assert found[0].keys() == found[1].keys()
    assert found[0] != found[1] != found[2]
    for name, value in found[1].items():  # three batches: a few steps of 1 %
        assert value == pytest.approx(found[0][name], rel=0.1, abs=0.1)
    assert found[2] == found[3]


def test_the_graph_has_exactly_the_trained_weights_and_ranges_and_scores_what_training_scored(run: Path) -> None:
    result = load(run)
    data = small.dataset()
    pictures, labels = data.test.take(np.arange(30))
    plain = result.graph(floats()[0], result.lasting_rewrites)
    state = plain.state_dict()
    assert state.keys() == result.tensors.keys()
    rounded = (".smallest_scales", ".bias")  # and a bias is a whole number of the file's steps
    assert all(state[name].equal(result.tensors[name]) for name in state if not name.endswith(rounded))
    for name, bias in state.items():
        if name.endswith(".bias"):
            trained_bias = result.tensors[name]
            assert torch.allclose(bias, trained_bias, rtol=1e-6, atol=half_a_step(plain, name.removesuffix(".bias")))
    logits = predictor(plain)(pictures)
    assert np.mean(logits.argmax(1) == labels) == pytest.approx(result.header.metrics["test_accuracy"])
    moved = result.graph(floats()[0], ALL)
    assert any("pair" in name for name, _ in moved.named_modules())
    assert np.allclose(predictor(moved)(pictures), logits, atol=1e-3 * np.abs(logits).max())
    for name, part in moved.named_modules():
        if isinstance(part, ActivationQuantizer) and part.fixed is None:
            kept = plain.get_submodule(name)
            assert isinstance(kept, ActivationQuantizer)
            assert part.affine() == kept.affine()


def half_a_step(graph: fx.GraphModule, name: str) -> float:
    """Half of the largest step in which a file holds the biases of a layer."""
    layer = graph.get_submodule(name)
    before = module_of(graph, next(node for node in graph.graph.nodes if node.target == name).args[0])
    assert isinstance(layer, QuantizedConv2d | QuantizedLinear)
    assert isinstance(before, ActivationQuantizer | AverageQuantizer)
    return float(layer.weight_scales().max()) * before.affine().scale / 2


@pytest.mark.parametrize("quantized", [STATIC_W8A8, STATIC_W4A8], ids=lambda each: each.name)
def test_learned_scales_are_those_of_the_graph_and_only_they_move(tmp_path: Path, quantized: Recipe) -> None:
    result = trained(tmp_path, quantized=quantized, ranges=qat.LEARNED)
    model, header = floats()
    data = small.dataset()
    start = ptq.calibrate(model, header.arguments, [data.train.take(np.arange(50))[0]], ALL, quantized)
    end = result.graph(model, ALL)
    before, after = affines(start), affines(end)
    learned = [name for name, affine in before.items() if after[name].scale != affine.scale]
    assert len(learned) > len(before) / 2
    assert all(after[name].zero_point == before[name].zero_point for name in before)
    layers = [part for part in end.modules() if isinstance(part, QuantizedConv2d | QuantizedLinear)]
    reached = torch.cat([
        (part.weight.detach() / part.weight_scales().view(-1, *[1] * (part.weight.dim() - 1))).flatten(1).abs().amax(1)
        / part.largest for part in layers
    ])  # fmt: skip
    assert reached.max() <= 1 + 1e-6
    assert reached.min() < 0.999  # a scale that follows its weights would be reached in every channel
    pictures, labels = data.test.take(np.arange(30))
    score = np.mean(predictor(end)(pictures).argmax(1) == labels)
    assert score == pytest.approx(result.header.metrics["test_accuracy"])


def test_learned_ranges_go_on_to_the_same_bits_and_only_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "stopped", ranges=qat.LEARNED)
    with pytest.raises(UsageError, match="its ranges is learned, this run's is following; use the same"):
        trained(tmp_path / "stopped", resume=True)
    trained(tmp_path / "stopped", ranges=qat.LEARNED, resume=True)
    trained(tmp_path / "whole", ranges=qat.LEARNED)
    assert small.same(small.tensors(tmp_path / "stopped"), small.tensors(tmp_path / "whole"))


def affines(graph: nn.Module) -> dict[str, Affine]:
    """Of all quantizers whose grid nobody prescribes."""
    parts = graph.named_modules()
    return {name: part.affine() for name, part in parts if isinstance(part, ActivationQuantizer) and not part.fixed}


def test_training_drops_what_the_float_network_dropped_and_nothing_when_it_is_done() -> None:
    model, header = floats()
    images = small.dataset().train.take(np.arange(50))[0]
    graph = ptq.calibrate(model, header.arguments, [images], ALL)
    inputs = to_input(torch.from_numpy(images))
    before = graph(inputs)
    dropout.bring_back(graph, model, header.arguments)
    assert graph(inputs).equal(before)
    seen: list[Tensor] = []
    graph.train().get_submodule("fc3").register_forward_hook(lambda layer, given, out: seen.append(given[0]))
    graph(inputs)
    graph.eval()(inputs)
    dropped, kept = seen
    share = float(((dropped == 0) & (kept != 0)).sum() / (kept != 0).sum())
    assert share == pytest.approx(0.3, abs=0.05)
    assert dropped[dropped != 0].allclose(kept[dropped != 0] / 0.7)


@pytest.mark.parametrize(
    ("drop", "share"),
    [
        (lambda x, training: F.dropout(x, 0.3, training), 0.3),
        (lambda x, training: F.dropout(x, training=training, p=0.2), 0.2),
        (lambda x, training: F.dropout(x, training=training), 0.5),
    ],
    ids=["in its place", "by its name", "not said"],
)
def test_so_it_does_what_a_function_dropped(drop: Any, share: float) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(drop(x.mean((2, 3)), self.training))

    model, arguments = Net().eval(), ModelArguments(4, 3, (8, 8))
    graph = ptq.calibrate(model, arguments, [nets.images(4, (8, 8, 3))], ())
    dropout.bring_back(graph, model, arguments)
    assert [part.p for part in graph.modules() if isinstance(part, nn.Dropout)] == [share]


@pytest.mark.parametrize("layer", [True, False])
def test_whole_channels_are_dropped_where_the_float_network_dropped_them(layer: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 4, 1)
            self.drop = nn.Dropout2d(0.25)

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv1(x)
            return self.conv2(self.drop(y) if layer else F.dropout2d(y, 0.25, self.training)).mean((2, 3))

    model, arguments = Net().eval(), ModelArguments(4, 3, (8, 8))
    images = nets.images(20, (8, 8, 3))
    graph = ptq.calibrate(model, arguments, [images], ())
    dropout.bring_back(graph, model, arguments)
    seen: list[Tensor] = []
    graph.train().get_submodule("conv2").register_forward_hook(lambda layer, given, out: seen.append(given[0]))
    graph(to_input(torch.from_numpy(images)))
    gone = (seen[0] == 0).flatten(2).all(2)
    assert float(gone.float().mean()) == pytest.approx(0.25, abs=0.1)


def test_training_moves_the_weights_but_not_those_of_a_pool(run: Path) -> None:
    result, (model, header) = load(run), floats()
    inputs = to_input(torch.from_numpy(small.dataset().train.take(np.arange(50))[0]))
    before = ptq.observe(model, header.arguments, [inputs], result.lasting_rewrites).state_dict()
    after = result.graph(model, result.lasting_rewrites)
    pools = {
        f"{name}.weight"
        for name, part in passes.apply(result.float_graph(model), (), header.arguments).named_modules()
        if isinstance(part, PoolConv2d)
    }
    assert pools
    for name, part in after.named_parameters():
        if name.endswith(".weight"):
            assert part.equal(before[name]) == (name in pools), name


def test_the_float_graph_is_what_the_simulation_rounds(run: Path) -> None:
    result = load(run)
    pictures = small.dataset().test.take(np.arange(30))[0]
    plain, simulated = result.float_graph(floats()[0]), result.graph(floats()[0], ALL)
    assert not any(isinstance(part, ActivationQuantizer | QuantizedConv2d) for part in plain.modules())
    first, second = predictor(plain)(pictures), predictor(simulated)(pictures)
    assert 0 < np.abs(first - second).max() < 0.2 * np.abs(first).max()


def test_layers_may_stay_float_afterwards_with_the_trained_weights_and_ranges(run: Path) -> None:
    result = load(run)
    model, _ = floats()
    whole, mixed = result.graph(model, ALL), result.graph(model, ALL, ("conv1.depth", "fc2"))
    assert float_layers_of(mixed) == ("conv1.depth", "conv1.point", "fc2")
    everything = result.graph(model, ALL, float_layers_of(result.float_graph(model)))
    held, plain = whole.state_dict(), everything.state_dict()
    for layer, part in mixed.named_modules():  # a bias that stays float32 is not rounded to steps
        if isinstance(part, nn.Conv2d | nn.Linear) and not isinstance(part, QuantizedConv2d | QuantizedLinear):
            held[f"{layer}.bias"] = plain[f"{layer}.bias"]
    assert [name for name, tensor in mixed.state_dict().items() if not tensor.equal(held[name])] == []
    pictures = small.dataset().test.take(np.arange(30))[0]
    exact = predictor(result.float_graph(model))(pictures)
    assert np.allclose(predictor(everything)(pictures), exact, atol=1e-4 * np.abs(exact).max())


def test_rewrites_that_it_was_not_trained_under_are_refused(run: Path) -> None:
    for other in ((), ("merge_separable",), ("merge_separable", "pair_columns")):
        with pytest.raises(UsageError, match="was trained with --passes flatten_order,pool_as_conv,merge_separable,"):
            load(run).graph(floats()[0], other)
    load(run).graph(floats()[0], ("merge_separable", "pool_as_conv"))


def test_only_what_qat_wrote_for_these_float_weights_is_loaded(run: Path, tmp_path: Path) -> None:
    model, header = floats()
    header_there, tensors = checkpoint.load(run / WEIGHTS)
    path = tmp_path / "w.safetensors"
    checkpoint.save(path, header, model.state_dict())
    with pytest.raises(BadFileError, match="was not written by 'edgecnn quantize --qat'; give it as --weights"):
        Trained.load(path, model, header)
    with pytest.raises(BadFileError, match="holds weights of 'depthwise', not of 'lenet'"):
        Trained.load(run / WEIGHTS, model, replace(header, model="lenet"))
    torch.manual_seed(9)
    with pytest.raises(BadFileError, match="was trained from other float weights than these; give them as --weights"):
        Trained.load(run / WEIGHTS, models.create(MODEL, header.arguments), header)
    lacking = {"fc1.bias": "it has no tensor 'fc1.bias'", "quantizer_fc1_relu.high": "it has no range 'quantizer_fc1_r"}
    for name, message in lacking.items():
        checkpoint.save(path, header_there, {each: tensors[each] for each in tensors if each != name})
        with pytest.raises(BadFileError, match=message):
            Trained.load(path, model, header).graph(model, ALL)
    with pytest.raises(BadFileError, match="holds weights that '--qat' trained, no float weights; give it as --qat-w"):
        checkpoint.load_model(run / WEIGHTS)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("quantization", {"recipe_name": {}}, "was not written by 'edgecnn quantize --qat'"),
        ("quantization", {"rewrites": None}, "rewrites must be a list of names, not None"),
        ("quantization", {"rewrites": 5}, "rewrites must be a list of names, not 5"),
        ("quantization", {"rewrites": [{}]}, "rewrites must be a list of names, not "),
        ("quantization", {"rewrites": ["sharpen"]}, "w.safetensors: unknown pass 'sharpen'"),
        ("quantization", {"ranges": []}, "ranges is "),
        ("quantization", {"float_weights": None}, "float_weights must be text, not null"),
        ("quantization", {"float_weights": "0" * 64}, "was trained from other float weights than these"),
        ("recipe", {"epochs": "many"}, "epochs must be a whole number"),
        ("recipe", {"epochs": 0}, "epochs is 0, but must be at least 1"),
        ("recipe", {"learning_rate": []}, "learning_rate must be a finite number"),
    ],
    ids=str,
)
def test_a_header_that_qat_does_not_write_is_refused(
    run: Path, tmp_path: Path, part: str, changes: dict[str, Any], message: str
) -> None:
    header, tensors = checkpoint.load(run / WEIGHTS)
    path = tmp_path / "w.safetensors"
    checkpoint.save(path, replace(header, **{part: getattr(header, part) | changes}), tensors)
    with pytest.raises(BadFileError, match=message):
        Trained.load(path, *floats())


@pytest.mark.parametrize(("part", "name"), [("recipe", "seed"), ("quantization", "float_weights")])
def test_a_header_that_lacks_what_a_manifest_says_is_refused(run: Path, tmp_path: Path, part: str, name: str) -> None:
    header, tensors = checkpoint.load(run / WEIGHTS)
    path = tmp_path / "w.safetensors"
    lacking: dict[str, Any] = {part: {each: value for each, value in getattr(header, part).items() if each != name}}
    checkpoint.save(path, replace(header, **lacking), tensors)
    with pytest.raises(BadFileError, match=f"w.safetensors: {name} is missing"):
        Trained.load(path, *floats())


def test_weights_for_another_size_of_images_are_refused(run: Path, tmp_path: Path) -> None:
    header, tensors = checkpoint.load(run / WEIGHTS)
    path = tmp_path / "w.safetensors"
    checkpoint.save(path, replace(header, arguments=replace(header.arguments, image_size=(9, 9))), tensors)
    with pytest.raises(BadFileError, match="was trained for other classes or another size of images than these"):
        Trained.load(path, *floats())


@pytest.mark.parametrize(
    ("tensor", "value", "message"),
    [
        ("quantizer_fc1_relu.low", torch.zeros(2), "'quantizer_fc1_relu.low' is 2 in the file and scalar in the model"),
        ("quantizer_fc1_relu.low", torch.zeros((), dtype=torch.complex64), "is sparse, quantized or complex"),
        ("quantizer_fc1_relu.low", torch.tensor(torch.nan), "quantizer 'quantizer_fc1_relu' goes from nan to"),
        ("quantizer_fc1_relu.high", torch.tensor(torch.inf), "quantizer 'quantizer_fc1_relu' goes from .* to inf"),
        ("quantizer_fc1_relu.high", torch.tensor(1e300, dtype=torch.float64), "goes from .* to inf"),
        ("quantizer_fc1_relu.low", torch.tensor(5.0), "quantizer 'quantizer_fc1_relu' goes from 5 to"),
        ("quantizer_fc1_relu.high", torch.tensor(-5.0), "quantizer 'quantizer_fc1_relu' goes from .* to -5"),
        ("conv1.point.smallest_scales", torch.zeros(1), "'conv1.point.smallest_scales' is 1 in the file and 6 in"),
        ("fc1.smallest_scales", torch.zeros(0), "'fc1.smallest_scales' is 0 in the file and"),
        ("fc1.smallest_scales", torch.zeros(()), "'fc1.smallest_scales' is scalar in the file and"),
        ("fc1.smallest_scales", torch.nan, "'fc1.smallest_scales' holds what is no scale"),
        ("fc1.smallest_scales", -1.0, "'fc1.smallest_scales' holds what is no scale"),
    ],
    ids=lambda each: str(each)[:40].replace("tensor", ""),
)
def test_ranges_that_are_none_are_refused(
    run: Path, tmp_path: Path, tensor: str, value: Tensor | float, message: str
) -> None:
    header, tensors = checkpoint.load(run / WEIGHTS)
    path = tmp_path / "w.safetensors"
    changed = value if isinstance(value, Tensor) else torch.full_like(tensors[tensor], value)
    learned = replace(header, quantization=header.quantization | {"ranges": qat.LEARNED})
    checkpoint.save(path, learned, tensors)
    load(path.parent, path.name).graph(floats()[0], ALL)
    checkpoint.save(path, learned, tensors | {tensor: changed})
    with pytest.raises(BadFileError, match=message):
        load(path.parent, path.name).graph(floats()[0], ALL)


def test_a_loss_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the loss is not finite in epoch 1; lower --learning-rate"):
        trained(tmp_path, recipe(learning_rate=1e30))


def test_validation_leaves_the_test_images_alone(tmp_path: Path) -> None:
    header = trained(tmp_path, recipe(validation=0.2, epochs=1)).header
    assert header.metrics.keys() == {"train_loss", "validation_accuracy", "validation_images"}


def test_a_float_run_is_not_taken_for_one_under_quantization(tmp_path: Path) -> None:
    train("lenet", small.dataset(), small.QUICK, tmp_path)
    assert checkpoint.load(tmp_path / WEIGHTS)[0].quantization == {}


@pytest.mark.parametrize("kind", own_nets.KINDS, ids=lambda kind: kind.__name__)
def test_a_model_from_outside_is_the_same_after_training_was_saved(kind: type[nn.Module]) -> None:
    model = attach(own_nets.build(kind), Normalization((0.4,) * 3, (0.2,) * 3))
    rewrites = passes.defaults(STATIC_W8A8)
    lasting = tuple(name for name in rewrites if name not in passes.MOVING)
    pictures = nets.images(16, (32, 32, 3))
    graph = ptq.calibrate(model, own_nets.ARGUMENTS, [pictures], lasting)
    with torch.no_grad():
        for parameter in graph.parameters():
            if parameter.requires_grad:
                parameter.mul_(1.01)
    wanted = predictor(graph)(pictures)
    made = {"recipe_name": STATIC_W8A8.name, "rewrites": list(rewrites)}
    header = Header("x.py:f", own_nets.ARGUMENTS, "d", tuple("abcd"), {}, quantization=made)
    result = Trained(header, graph.state_dict(), Path("w.safetensors"))
    found = predictor(result.graph(model, rewrites))(pictures)
    assert np.abs(found - wanted).max() <= 0.02 * np.ptp(wanted)
    assert np.abs(predictor(ptq.calibrate(model, own_nets.ARGUMENTS, [pictures], rewrites))(pictures) - found).max() > 0


class Joining(nn.Module):
    """Three branches of an image that are joined: one that columns can be paired in, and one that takes another."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.stem, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
        self.one, self.head = nn.Conv2d(4, 4, 1), nn.Linear(14, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        z = self.one(F.relu(self.norm(y)))
        return self.head(torch.cat([torch.tanh(self.first(x)), y, z], 1).mean((2, 3)))


def test_what_is_joined_has_its_trained_range_whatever_is_paired_or_stays_float() -> None:
    torch.manual_seed(5)
    model, pictures = nets.with_statistics(Joining()), nets.images(8, (8, 8, 3))
    arguments, rewrites = ModelArguments(4, 3, (8, 8)), ["pair_columns"]
    graph = ptq.calibrate(model, arguments, [pictures], ())
    made = {"recipe_name": STATIC_W8A8.name, "rewrites": rewrites}
    header = Header("x.py:f", arguments, "d", tuple("abcd"), {}, quantization=made)
    result = Trained(header, graph.state_dict(), Path("w.safetensors"))
    paired = result.graph(model, rewrites)
    assert "first_unpair" in dict(paired.named_modules())
    found, wanted = (predictor(each)(pictures) for each in (paired, graph))
    assert np.abs(found - wanted).max() <= 0.01 * np.ptp(wanted)
    mixed = result.graph(model, rewrites, ("first", "stem", "one", "head")).state_dict()
    assert torch.equal(mixed["quantizer_stem.high"], graph.state_dict()["quantizer_cat.high"])


def test_training_leaves_alone_what_only_prepares_the_image_or_joins_grids() -> None:
    """The channel of ones beside the image, and the layers that bring a fixed grid onto a common one."""
    model = attach(own_nets.build(own_nets.Mixed), Normalization((0.4,) * 3, (0.2,) * 3))
    graph = ptq.calibrate(model, own_nets.ARGUMENTS, [nets.images(4, (32, 32, 3))], ())
    frozen = {name.rpartition(".")[0] for name, tensor in graph.named_parameters() if not tensor.requires_grad}
    assert frozen == {"normalization", "gate_moved"}


def test_weights_of_another_normalization_are_refused_and_of_another_place_taken(tmp_path: Path) -> None:
    model, header = floats()
    made = {"recipe_name": "static_w8a8", "rewrites": [], "float_weights": checkpoint.digest(model)}
    own = replace(header, model="a/net.py:make", recipe=recipe().to_json(), quantization=made)
    checkpoint.save(tmp_path / "w.safetensors", own, {})
    assert Trained.load(tmp_path / "w.safetensors", model, replace(own, model="b/net.py:make"))
    other = replace(own, normalization=Normalization((0.5,), (0.5,)))
    with pytest.raises(BadFileError, match="was trained with another --mean and --std than these; give the same"):
        Trained.load(tmp_path / "w.safetensors", model, other)
