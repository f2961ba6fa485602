"""Golden fixtures of @aligntok/encoders/text: tiny random CLIP text encoders and T5 encoders of transformers.

    python tools/golden/encoders-text.py packages/encoders/test/fixtures
    (PyTorch 2.13, transformers 5.18)

Writes, for each model, a folder as `save_pretrained` writes it, with `golden.safetensors`. For each pair of lengths
`ids/TAG`, `mask/TAG`, and of the model without a mask (`bare`) and with it (`masked`): `hiddenI/KIND/TAG` after block I,
`tokens/KIND/TAG` after the final normalisation, `pooled/KIND/TAG`, `embedding/KIND/TAG`. `clip-whole` is a CLIPModel,
whose vision half is not to be loaded; `clip-openai` has the keys of OpenAI's file.
"""
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers.models.clip.configuration_clip import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPModel, CLIPTextModel, CLIPTextModelWithProjection
from transformers.models.t5.configuration_t5 import T5Config
from transformers.models.t5.modeling_t5 import T5EncoderModel, T5ForConditionalGeneration

out = pathlib.Path(sys.argv[1])
CLIP = dict(vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2,
            max_position_embeddings=24, projection_dim=10, bos_token_id=38, pad_token_id=39)
T5 = dict(vocab_size=40, d_model=16, d_kv=6, d_ff=20, num_layers=3, num_heads=2)


def randomise(model):
    for name, value in model.state_dict().items():
        if not value.is_floating_point():
            continue
        if name.endswith("relative_attention_bias.weight") or "embed" in name or name == "shared.weight":
            value.copy_(torch.randn_like(value))
        elif value.ndim == 1:
            value.copy_(torch.randn_like(value) * 0.4 + (1 if name.endswith("weight") else 0))
        elif value.ndim > 1:
            value.copy_(torch.randn_like(value) * 1.2 / value[0].numel() ** 0.5)


def sequences(lengths, start, end, pad):
    width = max(lengths)
    ids = torch.full((len(lengths), width), pad)
    mask = torch.zeros(len(lengths), width, dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(3, 38, (length,))
        if start is not None:
            ids[row, 0] = start
        ids[row, length - 1] = end
        mask[row, :length] = 1
    return ids, mask


def golden(model, lengths, start, end, pad):
    tensors = {}
    for pair in lengths:
        tag = "x".join(map(str, pair))
        ids, mask = sequences(pair, start, end, pad)
        tensors[f"ids/{tag}"] = ids.int()
        tensors[f"mask/{tag}"] = mask.to(torch.uint8)
        for kind, given in {"bare": None, "masked": mask}.items():
            with torch.no_grad():
                result = model(input_ids=ids, attention_mask=given, output_hidden_states=True)
            for i, hidden in enumerate(result.hidden_states[1:-1]):
                tensors[f"hidden{i}/{kind}/{tag}"] = hidden.contiguous().clone()
            tensors[f"tokens/{kind}/{tag}"] = result.last_hidden_state.contiguous()
            if "pooler_output" in result:
                tensors[f"pooled/{kind}/{tag}"] = result.pooler_output.contiguous()
            if "text_embeds" in result:
                tensors[f"embedding/{kind}/{tag}"] = result.text_embeds.contiguous()
    return tensors


def write(name, model, run, lengths, start, end, pad):
    torch.manual_seed(11)
    randomise(model)
    model.eval()
    model.save_pretrained(out / name)
    save_file(golden(run(model), lengths, start, end, pad), str(out / name / "golden.safetensors"))


short = [(5, 9), (16, 3), (24, 2)]
write("clip-projection", CLIPTextModelWithProjection(CLIPTextConfig(**CLIP, eos_token_id=39)), lambda m: m, short, 38, 39, 39)
# the older rule, padding lower than the end, another GELU, no projection
write("clip-text", CLIPTextModel(CLIPTextConfig(**{**CLIP, "hidden_act": "gelu"}, eos_token_id=2)), lambda m: m, short, 38, 39, 0)


class Whole(torch.nn.Module):
    """The text half of a CLIPModel, which gives the embedding beside its own outputs."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, **kwargs):
        result = self.model.text_model(**kwargs)
        result["text_embeds"] = self.model.text_projection(result.pooler_output)
        return result


vision = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=4, patch_size=4)
whole = CLIPModel(CLIPConfig(text_config={**CLIP, "eos_token_id": 39}, vision_config=vision, projection_dim=10))
write("clip-whole", whole, Whole, short[:1], 38, 39, 39)

state = whole.state_dict()
openai = {
    "token_embedding.weight": state["text_model.embeddings.token_embedding.weight"],
    "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
    "ln_final.weight": state["text_model.final_layer_norm.weight"],
    "ln_final.bias": state["text_model.final_layer_norm.bias"],
    "text_projection": state["text_projection.weight"].T,
    "logit_scale": state["logit_scale"],
    "visual.proj": state["visual_projection.weight"].T,
}
for i in range(CLIP["num_hidden_layers"]):
    old, new = f"text_model.encoder.layers.{i}", f"transformer.resblocks.{i}"
    for kind in ("weight", "bias"):
        openai[f"{new}.attn.in_proj_{kind}"] = torch.cat([state[f"{old}.self_attn.{part}_proj.{kind}"] for part in "qkv"])
        for a, b in {"self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2",
                     "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}.items():
            openai[f"{new}.{b}.{kind}"] = state[f"{old}.{a}.{kind}"]
openai = {name: value.contiguous() for name, value in openai.items()}
save_file(openai, str(out / "clip-whole" / "openai.safetensors"))

write("t5-gated", T5EncoderModel(T5Config(**T5, feed_forward_proj="gated-gelu")), lambda m: m, [(3, 7), (40, 20)], None, 1, 0)
# v1.0 saved whole, whose encoder alone counts, in shards; up to distances beyond the last bucket
torch.manual_seed(12)
relu = T5ForConditionalGeneration(T5Config(**{**T5, "num_layers": 2}, num_decoder_layers=1, feed_forward_proj="relu"))
randomise(relu)
relu.eval()
relu.save_pretrained(out / "t5-relu", max_shard_size="8KB")
tensors = golden(relu.encoder, [(140, 30)], None, 1, 0)
save_file({name: value for name, value in tensors.items() if "bare" not in name}, str(out / "t5-relu" / "golden.safetensors"))
(out / "t5-relu" / "generation_config.json").unlink(missing_ok=True)
