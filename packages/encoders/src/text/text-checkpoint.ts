/**
 * Names of published checkpoints to those of `clipTextShapes` and `t5Shapes`.
 *
 * Recognised by the keys alone: CLIP of transformers, whole or its text half, and of OpenAI and OpenCLIP, where three
 * projections lie in one tensor and the last one is transposed; T5 of transformers, whole or its encoder.
 */
import { check, type NdArray, ndarray, type Parameters, rows, toFloat32 } from "@aligntok/core";
import { checkTensors } from "../expected-tensors.ts";
import { clipTextShapes } from "./clip-text.ts";
import { t5Shapes } from "./t5.ts";
import type { TextConfig } from "./text-config.ts";

type Tensors = Readonly<Record<string, NdArray>>;

/** Applied one after the other to every key. */
const renames: readonly (readonly [RegExp, string])[] = [
  [/^(?:module|model|text_model)\./, ""],
  [/^token_embedding\./, "embeddings.token_embedding."],
  [/^positional_embedding$/, "embeddings.position_embedding.weight"],
  [/^transformer\.resblocks\.(\d+)\./, "encoder.layers.$1."],
  [/\.ln_([12])\./, ".layer_norm$1."],
  [/\.attn\./, ".self_attn."],
  [/\.c_fc\./, ".fc1."],
  [/\.c_proj\./, ".fc2."],
  [/^ln_final\./, "final_layer_norm."],
  [/^encoder\.embed_tokens\./, "shared."],
];

/** Parts of a whole model that no text feature depends on, and buffers. */
const ignored =
  /^(?:vision_model|visual|visual_projection|decoder|lm_head)\.|^(?:logit_scale|logit_bias|input_resolution|context_length|vocab_size|attn_mask)$|\.position_ids$/;

/** The tensors of the text encoder under the names used here, in the dtypes of the checkpoint. */
export function renameTextTensors(tensors: Tensors): Tensors {
  const found: Record<string, NdArray> = {};
  for (const [key, tensor] of Object.entries(tensors)) {
    const name = renames.reduce((text, [pattern, to]) => text.replace(pattern, to), key);
    if (ignored.test(name)) continue;
    if (name === "text_projection") {
      found["text_projection.weight"] = transpose(toFloat32(tensor)); // OpenAI's x @ W
    } else if (/\.in_proj_(?:weight|bias)$/.test(name)) {
      const third = (tensor.shape[0] ?? 0) / 3;
      for (const [i, part] of ["q_proj", "k_proj", "v_proj"].entries()) {
        const whole = name.replace(/in_proj_(weight|bias)$/, `${part}.$1`);
        found[whole] = rows(tensor, i * third, (i + 1) * third);
      }
    } else {
      // T5 ties its embeddings, and some files hold both names
      check(
        !(name in found) || name === "shared.weight",
        `checkpoint: expected one tensor for ${name}, got several. one of them is ${key}`,
      );
      found[name] = tensor;
    }
  }
  return found;
}

/**
 * The parameters of `config` in float32 from tensors under the names used here.
 *
 * @throws AlignTokError `bad-input` listing missing, left-over or wrongly shaped names, at most five of each.
 */
export function textParameters(config: TextConfig, renamed: Tensors): Parameters {
  const found = Object.fromEntries(
    Object.entries(renamed).map(([name, tensor]) => [name, toFloat32(tensor)]),
  );
  const shapes = config.family === "clip" ? clipTextShapes(config) : t5Shapes(config);
  checkTensors(found, shapes);
  return Object.fromEntries(Object.keys(shapes).map((name) => [name, found[name]!]));
}

function transpose({ data, shape }: NdArray<"float32">): NdArray<"float32"> {
  check(shape.length === 2, () => `checkpoint text_projection: expected a matrix, got [${shape}]`);
  const [height = 0, width = 0] = shape;
  const turned = Float32Array.from(
    data,
    (_, i) => data[(i % height) * width + Math.floor(i / height)]!,
  );
  return ndarray(turned, [width, height]);
}
