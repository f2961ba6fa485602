/** Text encoders that run: a tokenizer, a configuration and its weights, compiled for each length that arrives. */
import {
  batchRanges,
  check,
  checkBatchSize,
  concatRows,
  type NdArray,
  type Parameters,
  type Random,
  rows,
  type TextEncodeOptions,
  type TextEncoder,
  type TextFeatures,
  zeros,
} from "@aligntok/core";
import { type EngineOptions, jit, type Precision } from "@aligntok/jit";
import type { Tensor } from "@tensorflow/tfjs-core";
import { checkPrecision } from "../precision.ts";
import { unlessAborted } from "../unless-aborted.ts";
import { clipTextModel, initClipText } from "./clip-text.ts";
import { initT5, t5Model } from "./t5.ts";
import type { TextConfig } from "./text-config.ts";
import type { TextBatch, TextLayer, TextModel, TextOutputs } from "./text-model.ts";
import { type TextTokenizer, type TokenIds, tokenize } from "./text-tokenizer.ts";

export interface TextEncoderOptions extends EngineOptions {
  /** As for vision encoders. @default "float32" */
  readonly precision?: Precision;
  /** Texts that go through the network at once; more are cut into batches. @default 8 */
  readonly batchSize?: number;
}

export interface TextFeaturesOptions extends TextEncodeOptions {
  /**
   * The block whose output `tokens` are: counted from 0, negative from the end as in Python (`-2`: what transformers
   * calls `hidden_states[-2]`). @default -1
   */
  readonly layer?: number;
  /** Whether the final normalisation is applied to `tokens`. @default true */
  readonly norm?: boolean;
}

/** A `TextEncoder` of core whose configuration, weights and tokenizer can be taken out. */
export interface LoadedTextEncoder extends TextEncoder {
  readonly config: TextConfig;
  readonly parameters: Parameters;
  readonly tokenizer: TextTokenizer;
  encode(texts: readonly string[], options?: TextFeaturesOptions): Promise<TextFeatures>;
  /**
   * As `encode`, for ids that are there already, `(N, T)` with padding at the end.
   *
   * @throws AlignTokError `bad-input` for shapes that differ and ids that the model does not have.
   */
  encodeIds(
    input: TokenIds,
    options?: Omit<TextFeaturesOptions, "maxLength" | "padding">,
  ): Promise<TextFeatures>;
}

interface Weights {
  readonly params: Readonly<Record<string, Tensor>>;
}

/** A text encoder with random weights, for tests and for training from scratch. */
export function createTextEncoder(
  config: TextConfig,
  random: Random,
  { tokenizer, ...options }: TextEncoderOptions & { readonly tokenizer: TextTokenizer },
): LoadedTextEncoder {
  const parameters =
    config.family === "clip" ? initClipText(config, random) : initT5(config, random);
  return bindTextEncoder({ config, parameters, tokenizer }, options);
}

/** A text encoder of the given weights, which must be those that the configuration lists. */
export function bindTextEncoder(
  { config, parameters, tokenizer }: Pick<LoadedTextEncoder, "config" | "parameters" | "tokenizer">,
  { batchSize = 8, ...engine }: TextEncoderOptions = {},
): LoadedTextEncoder {
  checkBatchSize(batchSize);
  checkPrecision(engine.precision);
  const model: TextModel = config.family === "clip" ? clipTextModel(config) : t5Model(config);
  const graphs = new Map<string, ReturnType<typeof compileLayer>>();

  function compileLayer(layer: TextLayer) {
    return jit(({ params, ...batch }: TextBatch & Weights) => model.apply(params, batch, layer), {
      ...engine,
      bind: { params: parameters },
    });
  }

  function graphOf(layer: TextLayer) {
    const key = `${layer.layer} ${layer.norm}`;
    const graph = graphs.get(key) ?? compileLayer(layer);
    graphs.set(key, graph);
    return graph;
  }

  async function encode(
    texts: readonly string[],
    { maxLength, padding = "longest", ...options }: TextFeaturesOptions = {},
  ): Promise<TextFeatures> {
    const longest = maxLength ?? Math.min(tokenizer.maxLength ?? model.maxLength, model.maxLength);
    return encodeIds(tokenize(tokenizer, texts, { maxLength: longest, padding }), options);
  }

  function encodeIds(input: TokenIds, options: TextFeaturesOptions = {}): Promise<TextFeatures> {
    return unlessAborted("texts", options.signal, () => compute(input, options));
  }

  async function compute(
    { ids, mask }: TokenIds,
    { layer = -1, norm = true, attendPadding = false, signal }: TextFeaturesOptions,
  ): Promise<TextFeatures> {
    checkIds(model, { ids, mask });
    const { width, depth } = model;
    const index = layer < 0 ? layer + depth : layer;
    check(
      Number.isInteger(index) && index >= 0 && index < depth,
      () => `layer: expected a whole number from ${-depth} to ${depth - 1}, got ${layer}`,
    );
    const [n = 0, t = 0] = ids.shape;
    const graph = graphOf({ layer: index, norm });
    const tokens = zeros([n, t, width]);
    const pooled: NdArray<"float32">[] = [];
    const embeddings: NdArray<"float32">[] = [];
    const length = computedLength(model, t);
    for (const [start, end] of batchRanges(n, batchSize)) {
      const part = { ids: rows(ids, start, end), mask: rows(mask, start, end) };
      const batch = arrange(model, part, { length, attendPadding });
      const output = (await graph(batch, { ...(signal && { signal }) })) as Outputs;
      for (let i = 0; i < end - start; i++) {
        const row = output.tokens.data.subarray(i * length * width, (i * length + t) * width);
        tokens.data.set(row, (start + i) * t * width);
      }
      if (output.pooled) pooled.push(output.pooled);
      if (output.embedding) embeddings.push(output.embedding);
    }
    return {
      tokens,
      mask,
      ...(pooled.length && { pooled: concatRows(pooled) }),
      ...(embeddings.length && { embedding: concatRows(embeddings) }),
    };
  }

  function dispose(): void {
    for (const graph of graphs.values()) graph.dispose();
    graphs.clear();
  }

  return {
    config,
    parameters,
    tokenizer,
    width: model.width,
    encode,
    encodeIds,
    dispose,
  };
}

type Outputs = { readonly [K in keyof TextOutputs]: NdArray<"float32"> };

/** Lengths are rounded up, to hidden tokens, so that few graphs serve every text. */
function computedLength({ fixedLength, maxLength }: TextModel, t: number): number {
  const rounded = Math.ceil(t / 16) * 16;
  return fixedLength ? Math.min(rounded, maxLength) : rounded;
}

/** The inputs of the graph for a batch of ids (N, T), widened to (N, length). */
function arrange(
  model: TextModel,
  { ids, mask }: TokenIds,
  { length, attendPadding }: { readonly length: number; readonly attendPadding: boolean },
) {
  const [n = 0, t = 0] = ids.shape;
  const wide = zeros([n, length], "int32");
  const visible = zeros([n, 1, 1, length]);
  const ends = zeros([n], "int32");
  visible.data.fill(Number.NEGATIVE_INFINITY);
  for (let i = 0; i < n; i++) {
    const row = ids.data.subarray(i * t, (i + 1) * t);
    wide.data.set(row, i * length);
    for (let j = 0; j < t; j++) {
      if (attendPadding || mask.data[i * t + j]) visible.data[i * length + j] = 0;
    }
    ends.data[i] = i * length + model.endOf(row);
  }
  return { ids: wide, visible, ends };
}

function checkIds(model: TextModel, { ids, mask }: TokenIds): void {
  const [n = 0, t = 0] = ids.shape;
  check(
    ids.shape.length === 2 && ids.dtype === "int32" && mask.shape.join() === ids.shape.join(),
    () =>
      `ids: expected int32 (N, T) and a mask of that shape, got ${ids.dtype} [${ids.shape}] and [${mask.shape}]`,
  );
  check(
    !model.fixedLength || t <= model.maxLength,
    () => `maxLength: expected at most ${model.maxLength}, the positions of the model, got ${t}`,
  );
  for (let i = 0; i < n; i++) {
    check(
      t > 0 && mask.data[i * t],
      () => `mask: expected text ${i} to begin with a token, got padding. pad at the end`,
    );
  }
  const wrong = ids.data.find((id) => id < 0 || id >= model.vocabulary);
  check(
    wrong === undefined,
    () =>
      `ids: expected 0 to ${model.vocabulary - 1}, got ${wrong}. check that tokenizer and model belong together`,
  );
}
