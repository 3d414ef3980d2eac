"""Variants that differ in one thing, the rows that are made of them, and what is said of those."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks import experiments
from benchmarks.compared import ACCURACY, FILE, LATENCY, MISSING, PLAIN, QUANTIZED, Compared, text
from benchmarks.variants import VARIANTS
from edgecnn import checkpoint
from edgecnn.checkpoint import Header
from edgecnn.data import registry
from edgecnn.data.dataset import Subset
from edgecnn.errors import EdgeCNNError
from edgecnn.models import ModelArguments, create
from edgecnn.models.cost import macs, parameters
from edgecnn.train import WEIGHTS, Task

SMALL = replace(experiments.SHORT_RECIPE, epochs=1, batch_size=32)


def build(name, size=(32, 32)):
    torch.manual_seed(3)
    return VARIANTS[name](10, 3, size).eval()


def kinds(net):
    """Names of the layers that do something, in their order."""
    return [type(part).__name__ for part in net.modules() if not list(part.children())]


@pytest.fixture
def digits():
    whole = registry.load("digits")
    return replace(whole, train=Subset(whole.train, np.arange(80)), test=Subset(whole.test, np.arange(20)))


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_begins_with_the_weights_of_the_architecture_it_is_made_of(name):
    base = next(each for each in ("lenet", "mod_cnn", "depthwise", "depth_res") if name.startswith(each))
    ours, theirs = build(name).state_dict(), build(base).state_dict()
    other = {"mod_cnn_dense": "conv4"}.get(name, "nothing")  # a layer of another size
    same = [key for key in ours if key in theirs and not key.startswith(other)]
    assert {key for key in same if key.startswith("fc") and key.endswith("weight")} == {
        f"fc{n}.weight" for n in (1, 2, 3)
    }
    assert all(torch.equal(ours[key], theirs[key]) for key in same)
    assert build(name)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_lenet_changes_its_activation_and_is_normalized_each_alone():
    plain, relu, bn, both = (kinds(build(name)) for name in ("lenet", "lenet_relu", "lenet_bn", "lenet_relu_bn"))
    assert relu == ["ReLU" if kind == "Tanh" else kind for kind in plain]
    assert bn == [kind for each in plain for kind in ([each, "BatchNorm2d"] if each == "Conv2d" else [each])]
    assert both == ["ReLU" if kind == "Tanh" else kind for kind in bn]


@pytest.mark.parametrize("size", [(32, 32), (24, 40)])
def test_dilation_goes_without_changing_the_map_or_the_cost_and_the_dense_kernel_sees_as_far(size):
    arguments = ModelArguments(10, 3, size)
    dilated, near, dense = (build(name, size) for name in ("mod_cnn", "mod_cnn_near", "mod_cnn_dense"))
    assert [parameters(near), macs(near, arguments)] == [parameters(dilated), macs(dilated, arguments)]
    assert near.conv4.dilation == (1, 1) and near.conv4.kernel_size == (5, 5)
    assert torch.equal(near.conv4.weight, dilated.conv4.weight)
    with torch.no_grad():
        dense.load_state_dict(
            {key: value for key, value in dilated.state_dict().items() if key != "conv4.weight"}, strict=False
        )
        dense.conv4.weight.zero_()
        dense.conv4.weight[:, :, ::2, ::2] = dilated.conv4.weight
        image = torch.randn(1, 3, *size)
        assert torch.allclose(dense(image), dilated(image), atol=1e-5)
        assert not torch.allclose(near(image), dilated(image), atol=1e-3)


def test_batchnorm_and_relu_stand_between_depth_and_point():
    assert kinds(build("depthwise_bn_relu"))[:5] == ["Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d"]
    assert kinds(build("depthwise"))[:3] == ["Conv2d", "Conv2d", "BatchNorm2d"]
    added = parameters(build("depthwise_bn_relu")) - parameters(build("depthwise"))
    assert added == 2 * (3 + 6 + 16 + 16)


def test_blocks_without_the_addition_cost_the_same_and_none_at_all_cost_less():
    whole, plain, bare = (build(name) for name in ("depth_res", "depth_res_plain", "depth_res_bare"))
    arguments = ModelArguments()
    assert [parameters(plain), macs(plain, arguments)] == [parameters(whole), macs(whole, arguments)]
    assert [name for name, _ in whole.named_children() if name not in dict(bare.named_children())] == [
        "res2",
        "res3",
        "res4",
    ]
    features = torch.rand(1, 16, 8, 8)
    block = whole.res2
    with torch.no_grad():
        inner = block.bn2(block.conv2(block.relu1(block.bn1(block.conv1(features)))))
        assert torch.allclose(plain.res2(features), inner.relu())
        assert not torch.allclose(plain.res2(features), block(features))


def test_a_variant_is_a_model_of_the_command_line():
    net = create("benchmarks/variants.py:mod_cnn_near", ModelArguments())
    assert kinds(net) == kinds(build("mod_cnn_near"))


def test_what_is_trained_is_scored_and_not_trained_again(tmp_path, digits, capsys):
    row = experiments.accuracy("lenet_relu_bn", SMALL, digits, tmp_path)
    assert (row["parameters"], row["images"], row["trained_on"], len(row["curve"])) == (62050, 20, 72, 1)
    assert np.sum(row["confusion"]) == 20 and np.trace(row["confusion"]) == 20 * row["accuracy"]
    before = (tmp_path / "lenet_relu_bn-0" / WEIGHTS).read_bytes()
    assert experiments.accuracy("lenet_relu_bn", SMALL, digits, tmp_path) == row
    assert (tmp_path / "lenet_relu_bn-0" / WEIGHTS).read_bytes() == before


def test_a_training_that_was_stopped_goes_on(tmp_path, digits, monkeypatch):
    recipe = replace(SMALL, epochs=2)
    whole = experiments.accuracy("lenet", recipe, digits, tmp_path / "whole")

    begun = []

    def stop(_state, epoch):
        begun.append(epoch)
        if begun == [0, 1]:
            raise KeyboardInterrupt

    monkeypatch.setattr(experiments, "Task", lambda header, create, _note: Task(header, create, stop))
    with pytest.raises(KeyboardInterrupt):
        experiments.accuracy("lenet", recipe, digits, tmp_path / "stopped")
    assert experiments.accuracy("lenet", recipe, digits, tmp_path / "stopped") == whole
    assert begun == [0, 1, 1]


def test_a_file_that_was_judged_is_not_made_again(tmp_path, digits):
    (tmp_path / "lenet-0").mkdir()
    (tmp_path / "lenet-0" / "file.json").write_text('{"model": "lenet"}')
    assert experiments.file("lenet", 0, digits, tmp_path, timed=True) == {"model": "lenet"}
    with pytest.raises(EdgeCNNError, match=f"cannot read weights .*{WEIGHTS}"):
        experiments.file("lenet", 1, digits, tmp_path, timed=True)


@pytest.mark.parametrize(
    ("data", "epochs", "what"), [("cifar10", 8, "dataset is cifar10"), ("digits", 3, "epochs is 3")]
)
def test_runs_of_other_data_or_another_recipe_are_not_shown_as_these(data, epochs, what, tmp_path, capsys, monkeypatch):
    recipe = replace(experiments.RECIPE, epochs=epochs, seed=1)
    header = Header("lenet", ModelArguments(), data, ("a",), recipe.to_json())
    checkpoint.save(tmp_path / "lenet-1" / WEIGHTS, header, {"x": torch.ones(1)})
    monkeypatch.setattr(experiments, "accuracy", lambda *_words: {"what": ACCURACY, "model": "lenet", "seed": 1})
    words = ["--measure", "--data", "digits", "--runs", str(tmp_path), "--model", "lenet", "--seed", "1"]
    assert experiments.main([*words, "--what", ACCURACY, "--json"]) == 2
    assert f"lenet-1: its {what}, this run's is" in capsys.readouterr().err


def accuracy(model, seed, share, **more):
    return {
        "what": ACCURACY, "model": model, "seed": seed, "accuracy": share, "parameters": 100, "macs": 2_000_000,
        "images": 10_000, "cpu_seconds": 4.0 + seed, "epochs": 8, "confusion": [[3, 1], [0, 4]], **more,
    }  # fmt: skip


def timed(model, **kinds):
    runs = {FILES_BY_WORD[word]: [value] * 7 for word, value in kinds.items()}
    return {"what": LATENCY, "model": model, "seed": 0, "microseconds": runs, "doubts": ["busy"], "cpu": "a CPU"}


FILES_BY_WORD = {"float32": "float32", "plain": PLAIN, "quantized": QUANTIZED}
ROWS = [
    accuracy("mod_cnn", 0, 0.70), accuracy("mod_cnn", 1, 0.72), accuracy("depthwise", 1, 0.61, macs=500_000),
    accuracy("depthwise", 0, 0.60, macs=500_000), accuracy("depth_res", 0, 0.65),
    {"what": FILE, "model": "mod_cnn", "seed": 0, "accuracy": 0.695, "bytes": 1234},
    timed("mod_cnn", float32=40.0, plain=30.0, quantized=20.0),
    timed("depthwise", float32=20.0, plain=45.0, quantized=25.0),
]  # fmt: skip


def test_changes_are_taken_seed_by_seed_and_only_where_both_were_trained():
    found = Compared(ROWS)
    assert found.change("mod_cnn", "depthwise") == "-10.50 points (-11.00 to -10.00)"
    assert found.change("mod_cnn", "depth_res") == "-5.00 points"
    assert found.change("mod_cnn", "depthwise", QUANTIZED) == MISSING
    assert found.accuracy("mod_cnn") == "71.00 % (70.00 to 72.00)"
    assert found.loss("mod_cnn") == "-0.50 points"


def test_costs_and_latencies_are_multiples_of_the_first():
    found = Compared(ROWS)
    assert found.share("mod_cnn", "depthwise", "macs") == "0.25 times"
    assert found.pace("mod_cnn", "depthwise") == "1.25 times (1.25 to 1.25)"
    assert found.pace("depthwise", "depthwise", PLAIN, "float32") == "2.25 times (2.25 to 2.25)"
    assert found.pace("mod_cnn", "depth_res") == MISSING


def test_what_was_lost_comes_back_by_a_share():
    assert Compared(ROWS).regained("mod_cnn", "depthwise", "depth_res") == "50 %"


def test_confusion_is_shares_of_the_true_class_over_all_seeds():
    rows = [accuracy("lenet", 0, 0.9), accuracy("lenet", 1, 0.9, confusion=[[1, 3], [2, 2]])]
    assert Compared(rows).confusion("lenet").tolist() == [[0.5, 0.5], [0.25, 0.75]]


def test_the_table_has_a_line_for_each_variant_in_order_and_dashes_for_what_is_not_known():
    lines = text(ROWS).splitlines()[2:]
    assert lines == [
        "| `mod_cnn` | 100 | 2.00 | 71.00 % (70.00 to 72.00) | 69.50 % | 1,234 | 40.0 | 30.0 | 20.0 | 4.5 | 2 |",
        "| `depthwise` | 100 | 0.50 | 60.50 % (60.00 to 61.00) | - | - | 20.0 | 45.0 | 25.0 | 4.5 | 2 |",
        "| `depth_res` | 100 | 2.00 | 65.00 % | - | - | - | - | - | 4.0 | 1 |",
    ]


def test_the_committed_results_are_whole():
    rows = experiments.RESULTS.rows()
    found = Compared(rows)
    assert found.models == tuple(VARIANTS)
    assert {row["epochs"] for row in rows if row["what"] == ACCURACY} == {experiments.RECIPE.epochs}
    for name in VARIANTS:
        net, trained = build(name), found.trained(name)
        assert found.accuracies(name).keys() >= {0}
        assert {found.cost(name, "parameters"), found.cost(name, "macs")} == {
            parameters(net),
            macs(net, ModelArguments()),
        }
        assert found.accuracies(name, QUANTIZED).keys() == found.accuracies(name).keys()
        assert all(len(found.runs(name, kind)) == experiments.TURNS.runs for kind in experiments.kinds_of(name))
        for row in trained:
            assert np.sum(row["confusion"]) == row["images"] == 10_000
            assert np.trace(row["confusion"]) == round(row["accuracy"] * 10_000)


def test_without_words_the_committed_table_is_printed(capsys):
    assert experiments.main([]) == 0
    assert capsys.readouterr().out == f"{text(experiments.RESULTS.rows())}\n"
    assert experiments.main(["--what", LATENCY, "--json"]) == 0
    assert {row["what"] for row in json.loads(capsys.readouterr().out)} == {LATENCY}
