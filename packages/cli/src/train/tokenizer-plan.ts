/** What a training is going to do, in words, before it does it. */
import type { ReconstructionMemory, TrainingEstimate } from "@aligntok/aligntok";
import { describeSize } from "../tokenizer-images.ts";
import type { TokenizerConfigFile } from "./tokenizer-config.ts";

/** One stage of the plan, as `--json` prints it. */
export interface PlannedStage extends TrainingEstimate {
  readonly stage: string;
  readonly steps: number;
  /** Passes over the images. */
  readonly epochs: number;
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
  const { data, batchSize, encoder, from } = config;
  const most = stages.reduce((a, b) => (total(a.memory) > total(b.memory) ? a : b));
  return [
    `images   ${images} to train on, ${heldOut} held out, ${describeSize(data.size)} (${data.crop} crop${data.flip ? ", mirrored at random" : ""})`,
    ...(from ? [`from     ${from}`] : []),
    `encoder  ${encoder}`,
    ...stages.map(
      ({ stage, steps, epochs, trained, frozen }, i) =>
        `stage ${i + 1}  ${stage}: trains ${list(trained)}${Object.keys(frozen).length > 0 ? `; frozen: ${list(frozen)}` : ""}; ${steps} steps of ${batchSize} images (${epochs.toFixed(1)} epochs)`,
    ),
    `memory   at least ${gigabytes(total(most.memory))} in stage ${most.stage}: ${gigabytes(most.memory.weights)} for weights and optimizer, ${gigabytes(most.memory.activations)} within a step`,
    `output   ${out}`,
  ];
}

function list(parts: Readonly<Record<string, number>>): string {
  return Object.entries(parts)
    .map(([part, count]) => `${part} (${(count / 1e6).toFixed(2)} M)`)
    .join(", ");
}

const total = ({ weights, activations }: ReconstructionMemory) => weights + activations;
const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;
