/** What a training is going to do, in words and numbers, before it does it. */
import { type Stage, type TokenizerWeights, trainableParts } from "@aligntok/aligntok";
import type { Parameters } from "@aligntok/core";
import { splitParameters } from "@aligntok/train";
import type { StageMemory } from "./stage-memory.ts";
import type { StageSettings, TokenizerConfigFile } from "./tokenizer-config.ts";

/** One stage of the plan, as `--json` prints it. */
export interface PlannedStage {
  readonly stage: Stage;
  readonly steps: number;
  /** Passes over the images. */
  readonly epochs: number;
  /** Parts of the tokenizer with their numbers of weights. */
  readonly trained: Readonly<Record<string, number>>;
  readonly frozen: Readonly<Record<string, number>>;
  readonly memory: StageMemory;
}

export function planStage(
  weights: TokenizerWeights,
  settings: StageSettings,
  {
    batchSize,
    images,
    memory,
  }: { readonly batchSize: number; readonly images: number; readonly memory: StageMemory },
): PlannedStage {
  const { stage, steps } = settings;
  const { trainable, frozen } = splitParameters(weights.parameters, trainableParts[stage]);
  const epochs = (steps * batchSize) / images;
  return { stage, steps, epochs, trained: partSizes(trainable), frozen: partSizes(frozen), memory };
}

/** The plan as lines for people. */
export function describePlan(
  stages: readonly PlannedStage[],
  config: TokenizerConfigFile,
  {
    images,
    heldOut,
    out,
  }: { readonly images: number; readonly heldOut: number; readonly out: string },
): string[] {
  const { data, batchSize, encoder } = config;
  const most = stages.reduce((a, b) => (total(a.memory) > total(b.memory) ? a : b));
  return [
    `images   ${images} to train on, ${heldOut} held out, ${data.size} px (${data.crop} crop${data.flip ? ", mirrored at random" : ""})`,
    `encoder  ${encoder}`,
    ...stages.map(
      ({ stage, steps, epochs, trained, frozen }, i) =>
        `stage ${i + 1}  ${stage}: trains ${list(trained)}${Object.keys(frozen).length > 0 ? `; frozen: ${list(frozen)}` : ""}; ${steps} steps of ${batchSize} images (${epochs.toFixed(1)} epochs)`,
    ),
    `memory   at least ${gigabytes(total(most.memory))} in stage ${most.stage}: ${gigabytes(most.memory.weights)} for weights and optimizer, ${gigabytes(most.memory.activations)} within a step`,
    `output   ${out}`,
  ];
}

function partSizes(parameters: Parameters): Record<string, number> {
  const sizes: Record<string, number> = {};
  for (const [name, { data }] of Object.entries(parameters)) {
    const part = name.startsWith("post_quant_conv") ? "decoder" : name.slice(0, name.indexOf("."));
    sizes[part] = (sizes[part] ?? 0) + data.length;
  }
  return sizes;
}

function list(parts: Readonly<Record<string, number>>): string {
  return Object.entries(parts)
    .map(([part, count]) => `${part} (${(count / 1e6).toFixed(2)} M)`)
    .join(", ");
}

const total = ({ weights, activations }: StageMemory) => weights + activations;
const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
