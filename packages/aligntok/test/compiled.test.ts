import type { NdArray, Parameters } from "@aligntok/core";
import { compile, specOf } from "@aligntok/jit";
import { describe, expect, it } from "vitest";
import { createStageStep, type StageInputs, stages, trainableParts } from "../src/index.ts";
import {
  convolutionPerceptual,
  decoder,
  discriminator,
  parts,
  readGolden,
  relativeError,
  tokenizer,
  under,
} from "./golden.ts";

const weights = await readGolden("weights");
const judge = await readGolden("discriminator");
const perceptual = convolutionPerceptual(weights["perceptual.weight"]!);

describe("compiled stage steps", () => {
  it.each([...stages.map((stage) => [stage, false] as const), ["perceptual", true] as const])(
    "%s equals PyTorch on the engine too, values computed again: %s",
    async (stage, recompute) => {
      const golden = await readGolden(`stage-${stage}`);
      const frozen = ["encoder", "adapter"].filter(
        (part) => !trainableParts(stage, decoder).includes(part),
      );
      const inputs = {
        trainable: parts(weights, trainableParts(stage, decoder)) as Parameters,
        ...(frozen.length > 0 && { frozen: parts(weights, frozen) as Parameters }),
        ...(stage === "perceptual" && { snapshot: under(weights, "snapshot.") as Parameters }),
        discriminator: judge,
        perceptual: perceptual.parameters,
        images: weights.images!,
      };
      const step = createStageStep({
        stage,
        tokenizer,
        perceptual,
        discriminator,
        perceptualWeight: 0.7,
        semanticWeight: 3,
        recompute,
      });
      const graph = await compile((given) => step(given as StageInputs), specOf(inputs));
      const outputs = await graph.run(inputs);
      expect(Object.keys(outputs.gradients).sort()).toEqual(
        Object.keys(under(golden, "gradients.")).sort(),
      );
      for (const part of [
        "losses",
        "gradients",
        "discriminatorGradients",
        "discriminatorStatistics",
      ] as const) {
        const expected = under(golden, `${part}.`);
        const scale = Math.max(
          ...Object.values(expected).flatMap(({ data }) => Array.from(data, Math.abs)),
        );
        for (const [name, array] of Object.entries(expected)) {
          const { data } = (outputs[part] as Record<string, NdArray<"float32">>)[name]!;
          // what is zero but for rounding is compared with the largest of its kind
          const zero = array.data.every((x) => Math.abs(x) < 1e-6 * scale);
          if (zero) expect(Math.max(...data.map(Math.abs)), name).toBeLessThan(1e-5 * scale);
          else expect(relativeError(data, array), `${part} ${name}`).toBeLessThan(1e-4);
        }
      }
      graph.dispose();
    },
  );
});
